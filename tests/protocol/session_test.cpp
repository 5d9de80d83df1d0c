// SPDX-License-Identifier: Apache-2.0
// What two well-behaved sides see of each other.
#include "protocol/session.hpp"

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "protocol/bytes.hpp"
#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

using Lines = std::vector<std::string>;
using namespace std::chrono_literals;

Bytes number_frame32(FrameType type, StreamId stream, std::uint32_t value) {
  Bytes payload(4);
  store<std::uint32_t>(std::span(payload), value);
  return frame(type, stream, payload);
}

class SessionTest : public testing::Test {
 protected:
  /// Opens a stream of the agent's, which the server accepts, and empties both logs.
  StreamId open_stream(std::uint64_t credit = window_bytes_start) {
    const StreamId id = agent.open("web", credit);
    pair.pump();
    agent.clear_events();
    server.clear_events();
    return id;
  }
  SessionPair pair;
  Side& agent = pair.agent;
  Side& server = pair.server;
};

TEST_F(SessionTest, greets) {
  EXPECT_EQ(server.events(), Lines{"greeted"});
  EXPECT_EQ(agent.events(), Lines{"welcomed"});
  EXPECT_TRUE(agent.session.may_open());
  EXPECT_TRUE(server.session.may_open());
}

TEST_F(SessionTest, knows_the_round_trip_after_the_greeting_so_that_the_first_window_may_grow) {
  EXPECT_TRUE(agent.session.round_trip());
  EXPECT_TRUE(server.session.round_trip());
}

TEST_F(SessionTest, carries_a_stream_from_open_to_the_end_of_both_directions) {
  const StreamId id = open_stream();
  EXPECT_EQ(id, 1U);
  agent.write(id, "request");
  agent.finish(id);
  pair.pump();
  EXPECT_EQ(server.events(), (Lines{"data 1 request", "finished 1"}));
  server.write(id, "answer");
  server.finish(id);
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"data 1 answer", "finished 1", "forgotten 1"}));
  EXPECT_EQ(server.events().back(), "forgotten 1");
  EXPECT_EQ(agent.session.streams() + server.session.streams(), 0U);
  EXPECT_EQ(agent.session.window_bytes() + server.session.window_bytes(), 0U);
}

TEST_F(SessionTest, both_sides_open_streams_and_their_ids_never_meet) {
  EXPECT_EQ(agent.open("a"), 1U);
  EXPECT_EQ(server.open("b"), 2U);
  EXPECT_EQ(agent.open("c"), 3U);
  pair.pump();
  EXPECT_TRUE(agent.saw("opened 2 b"));
  EXPECT_TRUE(server.saw("opened 3 c"));
}

TEST_F(SessionTest, open_costs_no_round_trip_for_the_first_16_KiB) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  agent.write(id, std::string(optimistic_bytes_max + 1, 'x'));
  pair.pump();
  EXPECT_EQ(server.text(id).size(), optimistic_bytes_max);
  server.accept(id);
  pair.pump();
  EXPECT_EQ(server.text(id).size(), optimistic_bytes_max + 1);
}

TEST_F(SessionTest, nothing_precedes_the_answer_even_when_the_source_is_ready_before_it) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  pair.pump();
  server.write(id, "early");
  pair.pump();
  EXPECT_EQ(agent.text(id), "");
  server.accept(id);
  pair.pump();
  EXPECT_EQ(agent.text(id), "early");
  EXPECT_FALSE(agent.session.is_ended());
}

TEST_F(SessionTest, a_source_that_becomes_readable_after_its_end_is_not_asked_again) {
  const StreamId id = open_stream();
  agent.finish(id);
  pair.pump();
  agent.write(id, "too late");
  pair.pump();
  EXPECT_EQ(server.events(), Lines{"finished 1"});
  EXPECT_FALSE(server.session.is_ended());
}

TEST_F(SessionTest, a_rejected_stream_is_forgotten_on_both_sides_and_its_early_data_dropped) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  agent.write(id, "early");
  pair.pump();
  server.session.reject(id, {Reason::target_refused, true, "no"});
  agent.write(id, "late");
  pair.pump();
  EXPECT_TRUE(agent.saw("rejected 1 target_refused retryable"));
  EXPECT_EQ(agent.events().back(), "forgotten 1");
  EXPECT_EQ(agent.session.streams() + server.session.streams(), 0U);
}

TEST_F(SessionTest, an_answer_that_comes_after_the_stream_was_refused_does_nothing) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  pair.pump();
  server.session.reject(id, {});
  server.accept(id);
  server.session.reject(id, {});
  server.session.set_readable(id);
  EXPECT_FALSE(server.session.knows(id));
  pair.pump();
  EXPECT_TRUE(agent.saw("rejected 1 internal"));
  EXPECT_FALSE(agent.saw("accepted 1"));
}

TEST_F(SessionTest, reset_before_the_answer_is_a_reject) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  pair.pump();
  server.session.reset(id, Reason::target_timed_out);
  pair.pump();
  EXPECT_TRUE(agent.saw("rejected 1 target_timed_out"));
}

TEST_F(SessionTest, a_stream_that_is_reset_before_its_open_left_is_never_seen) {
  const StreamId id = agent.open("web");
  agent.session.reset(id, Reason::cancelled);
  pair.pump();
  EXPECT_EQ(agent.events().back(), "forgotten 1");
  EXPECT_EQ(server.events(), Lines{"greeted"});
}

TEST_F(SessionTest, reset_ends_both_directions_with_its_reason) {
  const StreamId id = open_stream();
  server.finish_by_reset(id, Reason::target_reset);
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"reset 1 target_reset", "forgotten 1"}));
  EXPECT_EQ(server.events(), Lines{"forgotten 1"});
  EXPECT_EQ(agent.session.streams() + server.session.streams(), 0U);
}

TEST_F(SessionTest, reset_right_after_accept_arrives_behind_it) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  pair.pump();
  agent.clear_events();
  server.accept(id);
  server.session.reset(id, Reason::overloaded);
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"accepted 1", "reset 1 overloaded", "forgotten 1"}));
}

TEST_F(SessionTest, an_aborted_direction_is_not_a_clean_end_and_the_other_direction_continues) {
  const StreamId id = open_stream();
  agent.write(id, "half");
  agent.finish(id, Source::aborted);
  server.write(id, "answer");
  pair.pump();
  EXPECT_EQ(server.events(), (Lines{"data 1 half", "finished 1 aborted"}));
  EXPECT_EQ(agent.text(id), "answer");
  server.session.abort(id);
  pair.pump();
  EXPECT_EQ(agent.events().back(), "forgotten 1");
  EXPECT_TRUE(agent.saw("finished 1 aborted"));
}

TEST_F(SessionTest, stop_ends_the_peers_direction_and_not_ours) {
  const StreamId id = open_stream();
  agent.slot_bytes_max = 10;
  agent.write(id, std::string(1'000'000, 'x'));
  server.session.stop(id, Reason::cancelled);
  server.write(id, "early answer");
  pair.pump();
  EXPECT_TRUE(agent.saw("stopped 1 cancelled"));
  EXPECT_EQ(server.events(), Lines{"finished 1 aborted"}) << "what was in flight is dropped";
  EXPECT_EQ(agent.text(id), "early answer");
  server.finish(id);
  pair.pump();
  EXPECT_EQ(agent.session.streams() + server.session.streams(), 0U);
}

TEST_F(SessionTest, stop_before_accept_has_left_waits_for_it) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  pair.pump();
  agent.clear_events();
  server.accept(id);
  server.session.stop(id, Reason::cancelled);
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"accepted 1", "stopped 1 cancelled"}));
}

TEST(Stop, bytes_that_are_dropped_earn_no_credit) {  // SPEC 6.3, 7.2: the smallest case of simulator seed 1241629
  LoneSide server(Role::server);
  server.receive(open_frame(1));
  server.session.stop(1, Reason::cancelled);
  server.receive(frame(FrameType::data, 1, Bytes(optimistic_bytes_max)));
  EXPECT_EQ(server.send(), joined({number_frame(FrameType::accept, 1, window_bytes_start),
                                   reason_frame(FrameType::stop, 1, Reason::cancelled)}));
}

TEST(Stop, heads_that_are_dropped_earn_no_credit) {
  LoneSide server(Role::server);
  server.receive(open_frame(1));
  server.session.stop(1, Reason::cancelled);
  server.receive(frame(FrameType::head, 1, Bytes(head_payload_bytes_max)));
  EXPECT_EQ(server.send(), joined({number_frame(FrameType::accept, 1, window_bytes_start),
                                   reason_frame(FrameType::stop, 1, Reason::cancelled)}));
}

TEST(Stop, cancels_the_credit_that_waits_to_be_sent) {  // SPEC 7.2: the case of the other seven seeds
  LoneSide server(Role::server);
  server.receive(open_frame(1));
  (void)server.send();
  server.receive(frame(FrameType::data, 1, Bytes(65'536)));
  server.session.stop(1, Reason::cancelled);
  server.receive(frame(FrameType::data, 1, Bytes(1)));
  EXPECT_EQ(server.send(), reason_frame(FrameType::stop, 1, Reason::cancelled));
}

TEST(Stop, a_sink_that_still_takes_earns_neither_credit_nor_a_larger_window) {
  LoneSide server(Role::server);
  const Time pinged = std::exchange(server.now, server.now + 2ms);
  server.receive(number_frame(FrameType::ping, 0, static_cast<std::uint64_t>(pinged.count()), flag_pong));
  server.receive(open_frame(1));
  (void)server.send();
  server.takes = false;
  server.growth_bytes_max = window_bytes_start;
  for (int i = 0; i < 4; ++i) server.receive(frame(FrameType::data, 1, Bytes(65'536)));
  server.session.stop(1, Reason::cancelled);
  server.session.take(1, window_bytes_start);
  server.collect();
  EXPECT_EQ(server.send(), reason_frame(FrameType::stop, 1, Reason::cancelled));
  EXPECT_EQ(server.session.window_bytes(), window_bytes_start);
}

TEST_F(SessionTest, a_stalled_reader_costs_its_window_and_no_more) {
  const StreamId id = open_stream();
  const StreamId other = open_stream();
  server.takes = false;
  agent.write(id, std::string(2 * window_bytes_start, 'x'));
  pair.pump();
  EXPECT_EQ(server.text(id).size(), window_bytes_start);
  agent.write(other, "I get through");
  pair.pump();
  EXPECT_EQ(server.text(other), "I get through");
  server.takes = true;
  server.session.take(id, window_bytes_start);
  pair.pump();
  EXPECT_EQ(server.text(id).size(), 2 * window_bytes_start);
}

TEST_F(SessionTest, a_window_doubles_while_a_budget_is_given) {
  // The answers to pings take 2 ms, for longer than a round trip is remembered.
  for (int i = 0; i < 40; ++i) {
    pair.now += 1s;
    server.session.on_time(pair.now);
    agent.session.on_time(pair.now);
    const Bytes pings = server.send();
    pair.now += 2ms;
    agent.receive(pings);
    server.receive(agent.send());
    agent.receive(server.send());
  }
  const StreamId id = open_stream();
  server.growth_bytes_max = 3 * window_bytes_start;
  for (int i = 0; i < 8; ++i) {
    agent.write(id, std::string(4 * window_bytes_start, 'x'));
    pair.pump();
  }
  EXPECT_EQ(server.session.window_bytes(), 4 * window_bytes_start);
  EXPECT_EQ(server.growth_bytes_max, 0U);
}

TEST_F(SessionTest, windows_grow_to_16_MiB_each_and_to_64_MiB_in_all) {
  const StreamId id = open_stream();
  EXPECT_EQ(server.session.grow_window(id, UINT64_MAX), window_bytes_max - window_bytes_start);
  EXPECT_EQ(server.session.grow_window(id, 1), 0U);
  for (int i = 0; i < 3; ++i) (void)server.session.grow_window(open_stream(), UINT64_MAX);
  const StreamId last = open_stream();
  EXPECT_EQ(server.session.grow_window(last, UINT64_MAX), 0U);
  EXPECT_LE(server.session.window_bytes(), tunnel_granted_bytes_max + window_bytes_start);
  EXPECT_EQ(server.session.grow_window(99, 1), 0U);
}

TEST_F(SessionTest, accept_grants_16_KiB_at_least_and_16_MiB_at_most) {
  server.accepts = false;
  const StreamId small = agent.open("small");
  const StreamId large = agent.open("large");
  pair.pump();
  server.accept(small, 0);
  server.accept(large, UINT64_MAX);
  pair.pump();
  EXPECT_EQ(server.session.window_bytes(), window_bytes_min + window_bytes_max);
  EXPECT_FALSE(agent.session.is_ended());
}

TEST_F(SessionTest, two_bulk_streams_get_equal_shares_and_a_small_one_goes_ahead) {
  const StreamId one = open_stream(window_bytes_max);
  const StreamId two = open_stream(window_bytes_max);
  (void)server.session.grow_window(one, window_bytes_max);
  (void)server.session.grow_window(two, window_bytes_max);
  const std::string bulk(window_bytes_start, 'x');
  agent.write(one, bulk);
  agent.write(two, bulk);
  (void)agent.send(32'768);  // Both have had turns.
  const StreamId small = agent.open("small");
  agent.write(small, "me first");
  agent.write(one, "");
  server.receive(agent.send());
  EXPECT_EQ(agent.text(small), "");
  EXPECT_EQ(server.text(small), "me first");
}

TEST_F(SessionTest, a_tunnel_in_which_nothing_happens_is_pinged_and_stays_alive) {
  pair.pass(1min);
  EXPECT_FALSE(agent.session.is_ended());
  EXPECT_FALSE(server.session.is_ended());
}

TEST_F(SessionTest, a_silent_peer_is_dead_after_12_seconds) {
  pair.now += 12s - 1us;
  agent.session.on_time(pair.now);
  EXPECT_FALSE(agent.session.is_ended());
  pair.now += 1us;
  agent.session.on_time(pair.now);
  agent.collect();
  EXPECT_EQ(agent.events().back(), "ended timed_out");
  EXPECT_EQ(agent.session.deadline(), Time::max());
}

TEST_F(SessionTest, a_head_keeps_its_place_among_the_bytes) {
  const StreamId id = server.open("erp");
  server.session.send_head(id, Bytes(100, std::byte{1}));
  server.write(id, "body");
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"welcomed", "opened 2 erp", "head 2 100", "data 2 body"}));
  agent.clear_events();
  server.session.send_head(id, Bytes(7, std::byte{1}));
  server.finish(id);
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"head 2 7", "finished 2"})) << "e.g. trailers";
}

TEST_F(SessionTest, a_head_exceeds_the_limit_once_and_the_bytes_after_it_wait) {  // SPEC 7.5
  agent.accepts = false;
  const StreamId id = server.open("erp");
  server.session.send_head(id, Bytes(head_payload_bytes_max, std::byte{1}));
  server.session.send_head(id, Bytes(1, std::byte{1}));
  server.write(id, "body");
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"welcomed", "opened 2 erp", "head 2 81920"}));
  agent.clear_events();
  agent.accept(id);
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"head 2 1", "data 2 body"}));
}

TEST_F(SessionTest, heads_of_a_stream_that_ends_are_not_sent) {
  const StreamId id = open_stream();
  agent.session.send_head(id, Bytes(5, std::byte{1}));
  agent.session.reset(id, Reason::cancelled);
  agent.session.send_head(id, Bytes(5, std::byte{1}));
  pair.pump();
  EXPECT_EQ(server.events(), (Lines{"reset 1 cancelled", "forgotten 1"}));
}

TEST_F(SessionTest, a_server_asks_for_another_tunnel_at_most_once_per_interval) {
  agent.clear_events();
  server.session.ask_to_widen();
  server.session.ask_to_widen();
  pair.pump();
  EXPECT_EQ(agent.events(), Lines{"widen wanted"});
  pair.now += widen_interval;
  server.session.on_time(pair.now);
  server.session.ask_to_widen();
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"widen wanted", "widen wanted"}));
}

TEST_F(SessionTest, an_agent_receives_the_latest_list_of_replicas_only) {
  agent.clear_events();
  server.session.tell_replicas({"a"});
  server.session.tell_replicas({"a", "b"});
  pair.pump();
  EXPECT_EQ(agent.events(), Lines{"replicas a b"});
  server.session.tell_replicas({});
  pair.pump();
  EXPECT_EQ(agent.events(), (Lines{"replicas a b", "replicas"}));
}

TEST_F(SessionTest, a_list_of_replicas_waits_for_room_and_blocks_nothing_after_the_end) {
  server.session.tell_replicas({std::string(200, 'r')});
  Bytes room(100);
  EXPECT_EQ(server.session.next_outgoing(room).kind, Outgoing::Kind::full);
  server.session.close(Reason::shutdown, "");
  (void)server.send();
  EXPECT_EQ(server.session.next_outgoing(room).kind, Outgoing::Kind::nothing);
}

TEST(Greeting, a_list_of_replicas_that_is_too_long_for_it_is_sent_after_it) {
  for (const std::size_t length : {std::size_t{50}, name_bytes_max}) {
    const Time now{1};
    Side agent({.role = Role::agent}, now);
    Side server({.role = Role::server}, now);
    server.welcomes = false;
    server.receive(hello_frame());
    const std::vector<std::string> names(replicas_max, std::string(length, 'r'));
    server.session.welcome({.replicas = names});
    agent.receive(server.send());
    std::string list;
    for (const std::string& name : names) list += " " + name;
    EXPECT_EQ(agent.events(), length == 50 ? Lines{"welcomed" + list} : (Lines{"welcomed", "replicas" + list}));
  }
}

TEST(Greeting, brings_every_head_into_force_if_both_sides_name_them) {
  using Names = std::vector<std::string>;
  for (const auto& [offered, named, form] : {std::tuple{Names{"heads"}, Names{"heads"}, HeadForm::current},
                                             {Names{"renew", "heads"}, Names{"later", "heads"}, HeadForm::current},
                                             {Names{"heads"}, Names{}, HeadForm::older},
                                             {Names{}, Names{"heads"}, HeadForm::older},
                                             {Names{"head"}, Names{"head"}, HeadForm::older}}) {
    const Time now{1};
    Side agent({.role = Role::agent, .hello = {.capabilities = offered}}, now);
    Side server({.role = Role::server}, now);
    server.welcomes = false;
    server.receive(agent.send());
    server.session.welcome({.capabilities = named});
    agent.receive(server.send());
    EXPECT_EQ(agent.session.head_form(), form) << testing::PrintToString(offered) << testing::PrintToString(named);
    EXPECT_EQ(server.session.head_form(), form) << testing::PrintToString(offered) << testing::PrintToString(named);
  }
}

TEST_F(SessionTest, drain_asks_for_no_new_streams_and_existing_ones_continue) {
  const StreamId id = open_stream();
  server.session.drain(Reason::shutdown, 5s);
  server.session.drain(Reason::shutdown, 5s);
  pair.pump();
  EXPECT_EQ(agent.events(), Lines{"draining shutdown"});
  EXPECT_EQ(agent.open("more"), 0U);
  EXPECT_NE(server.open("the other way"), 0U);
  agent.write(id, "still here");
  pair.pump();
  EXPECT_EQ(server.text(id), "still here");
}

TEST(Session, drain_before_the_greeting_is_told_directly_after_it) {
  for (const bool agent_drains : {true, false}) {
    const Time now{1'000'000};
    Side agent({.role = Role::agent}, now);
    Side server({.role = Role::server}, now);
    (agent_drains ? agent : server).session.drain(Reason::shutdown, 5s);
    server.receive(agent.send());
    agent.receive(server.send());
    server.receive(agent.send());
    Side& told = agent_drains ? server : agent;
    EXPECT_TRUE(told.saw("draining shutdown"));
    EXPECT_EQ(told.open("web"), 0U);
  }
}

TEST_F(SessionTest, close_says_which_streams_were_never_seen) {
  const StreamId seen = open_stream();
  const StreamId unseen = agent.open("web");
  server.session.close(Reason::shutdown, "bye");
  agent.receive(server.send());
  EXPECT_EQ(agent.events(), (Lines{"rejected 3 draining retryable", "forgotten 3", "ended shutdown by peer"}));
  EXPECT_LT(seen, unseen);
  EXPECT_TRUE(agent.send().empty());
}

TEST_F(SessionTest, after_the_end_no_event_names_a_stream_and_nothing_more_is_sent) {
  const StreamId id = open_stream();
  server.takes = false;
  agent.write(id, std::string(100'000, 'x'));
  server.receive(agent.send());
  server.session.take(id, 90'000);
  server.session.close(Reason::shutdown, "");
  server.collect();
  server.clear_events();
  server.session.take(id, 10'000);
  server.session.set_readable(id);
  server.session.stop(id, Reason::cancelled);
  server.session.reset(id, Reason::cancelled);
  server.session.abort(id);
  EXPECT_EQ(server.session.grow_window(id, 1), 0U);
  EXPECT_EQ(server.open("more"), 0U);
  Bytes room(1'000);
  EXPECT_EQ(server.session.next_outgoing(room).kind, Outgoing::Kind::frames);
  EXPECT_EQ(server.session.next_outgoing(room).kind, Outgoing::Kind::nothing);
  server.collect();
  EXPECT_EQ(server.events(), Lines{});
}

TEST_F(SessionTest, a_slot_that_is_being_filled_when_the_tunnel_ends_is_void) {
  const StreamId id = open_stream();
  agent.write(id, "x");
  Bytes room(4'200);
  ASSERT_EQ(agent.session.next_outgoing(room).kind, Outgoing::Kind::slot);
  agent.session.close(Reason::shutdown, "");
  EXPECT_EQ(agent.session.commit(1, Source::ended), 0U);
  agent.collect();
  EXPECT_EQ(agent.events(), Lines{"ended shutdown"});
}

TEST_F(SessionTest, rooms_of_any_size_carry_the_same_bytes) {
  for (const std::size_t room : {4'200UL, 5'000UL, 16'384UL, 65'535UL, 65'536UL, 262'144UL}) {
    const StreamId id = open_stream();
    agent.write(id, std::string(200'000, 'r'));
    agent.finish(id);
    for (int i = 0; i < 100 && !server.saw("finished " + std::to_string(id)); ++i) {
      server.receive(agent.send(room));
      agent.receive(server.send(room));
    }
    EXPECT_EQ(server.text(id).size(), 200'000U) << room;
    EXPECT_TRUE(server.saw("finished " + std::to_string(id)));
  }
}

TEST_F(SessionTest, a_room_that_is_too_small_is_reported_and_loses_nothing) {
  const StreamId id = agent.open("web");
  agent.write(id, "x");
  for (std::size_t size = 0; size < 51; ++size) {
    Bytes room(size);
    EXPECT_EQ(agent.session.next_outgoing(room).kind, Outgoing::Kind::full) << size;
  }
  pair.pump();
  EXPECT_EQ(server.text(id), "x");
}

TEST(Session, a_tunnel_that_runs_out_of_ids_is_drained_and_uses_none_twice) {  // threats A13
  SessionPair pair({.stream_id_max = 9}, {.stream_id_max = 9});
  std::vector<StreamId> ids;
  while (const StreamId id = pair.agent.open("web")) ids.push_back(id);
  EXPECT_EQ(ids, (std::vector<StreamId>{1, 3, 5, 7}));
  pair.pump();
  EXPECT_EQ(pair.server.session.streams(), 4U);
  EXPECT_TRUE(pair.server.saw("draining ids_exhausted"));
  EXPECT_FALSE(pair.server.session.may_open());
}

TEST(Session, the_stream_beyond_streams_max_is_refused_alone_and_may_be_tried_elsewhere) {  // threats A7
  SessionPair pair({}, {.streams_max = 2});
  for (int i = 0; i < 3; ++i) pair.agent.open("web");
  pair.pump();
  EXPECT_TRUE(pair.agent.saw("rejected 5 overloaded retryable"));
  EXPECT_FALSE(pair.server.saw("opened 5 web"));
  EXPECT_EQ(pair.server.session.counters().overloaded, 1U);
  EXPECT_EQ(pair.server.session.window_bytes(), 2 * window_bytes_start);
  pair.agent.session.reset(1, Reason::cancelled);
  pair.agent.open("again");
  pair.pump();
  EXPECT_TRUE(pair.server.saw("opened 7 again"));
}

TEST(Session, a_peer_that_never_greets_is_given_ten_seconds) {
  Time now{1'000'000};
  Side server({.role = Role::server}, now);
  now += 10s;
  server.session.on_time(now);
  server.collect();
  EXPECT_EQ(server.events(), Lines{"ended timed_out"});
}

TEST(Session, a_version_outside_our_range_is_refused) {  // threats A15
  for (const std::uint32_t version : {1U, 2U, 3U, 4U}) {
    Time now{1'000'000};
    Side agent({.role = Role::agent, .hello = {.version_min = 2, .version_max = 3}}, now);
    agent.receive(welcome_frame(version));
    const bool good = version == 2 || version == 3;
    EXPECT_EQ(agent.events(), good ? Lines{"welcomed"} : Lines{"ended version"}) << version;
  }
}

TEST(Session, a_server_that_refuses_an_agent_says_why) {
  Time now{1'000'000};
  Side agent({.role = Role::agent}, now);
  Side server({.role = Role::server}, now);
  server.welcomes = false;
  server.receive(agent.send());
  server.session.close(Reason::version, "upgrade to 2");
  agent.receive(server.send());
  EXPECT_EQ(agent.events(), Lines{"ended version by peer"});
}

TEST_F(SessionTest, tells_the_opener_how_long_the_dial_may_take_until_the_answer) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  pair.pump();
  server.session.announce_dial_time(id, std::chrono::seconds(60));
  pair.pump();
  EXPECT_TRUE(agent.saw("pending 1 60000"));
  agent.clear_events();
  server.session.announce_dial_time(id, std::chrono::seconds(70));
  server.accept(id);
  server.session.announce_dial_time(id, std::chrono::seconds(80));
  pair.pump();
  EXPECT_EQ(agent.events(), Lines{"accepted 1"});
}

TEST_F(SessionTest, an_hour_is_the_longest_dial_that_counts_and_a_late_announcement_means_nothing) {
  server.accepts = false;
  const StreamId id = agent.open("web");
  pair.pump();
  agent.receive(number_frame32(FrameType::pending, id, 0xffff'ffff));
  EXPECT_TRUE(agent.saw("pending 1 3600000"));
  server.accept(id);
  pair.pump();
  agent.clear_events();
  agent.receive(number_frame32(FrameType::pending, id, 1'000));
  EXPECT_TRUE(agent.events().empty());
  EXPECT_EQ(agent.end_reason(), Reason::none);
}

}  // namespace
}  // namespace culvert::protocol
