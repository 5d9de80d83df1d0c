// SPDX-License-Identifier: Apache-2.0
// What a peer may do wrong, by accident or on purpose (threats A1 to A16), and what it costs.
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "protocol/session.hpp"
#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

using Lines = std::vector<std::string>;
using namespace std::chrono_literals;
using enum FrameType;

TEST(Greeting, only_a_greeting_or_a_final_goaway_may_come_first) {
  const auto reason_after = [](Role role, const Bytes& input) {
    const Time now{1};
    Side side({.role = role}, now);
    side.receive(input);
    return side.end_reason();
  };
  for (const Bytes& early : {open_frame(1), open_frame(2), frame(data, 1), number_frame(ping, 0, 1), frame(fin, 1)}) {
    EXPECT_EQ(reason_after(Role::server, early), Reason::protocol);
    EXPECT_EQ(reason_after(Role::agent, early), Reason::protocol);
  }
  EXPECT_EQ(reason_after(Role::server, welcome_frame()), Reason::protocol);
  EXPECT_EQ(reason_after(Role::agent, hello_frame()), Reason::protocol);
  EXPECT_EQ(reason_after(Role::server, joined({hello_frame(), hello_frame()})), Reason::protocol);
  EXPECT_EQ(reason_after(Role::agent, joined({welcome_frame(), welcome_frame()})), Reason::protocol);
  EXPECT_EQ(reason_after(Role::server, frame(hello, 0, bytes_of("\x80"))), Reason::protocol);
  EXPECT_EQ(reason_after(Role::agent,
                         frame(goaway, 0, encode(Goaway{.kind = Goaway::Kind::final, .reason = Reason::denied}))),
            Reason::denied);
  EXPECT_EQ(reason_after(Role::agent, frame(goaway, 0, encode(Goaway{}))), Reason::protocol);
}

TEST(Greeting, an_agent_that_does_not_wait_for_the_welcome_is_refused) {
  const Time now{1};
  Side server({.role = Role::server}, now);
  server.welcomes = false;
  server.receive(joined({hello_frame(), open_frame(1)}));
  EXPECT_EQ(server.events(), (Lines{"greeted", "ended protocol"}));
}

TEST(Hostile, a_frame_that_claims_4_GiB_ends_the_tunnel_at_its_header) {  // threats A2
  LoneSide server(Role::server);
  Bytes header = frame(data, 1);
  for (std::size_t i = 8; i < 12; ++i) header[i] = std::byte{0xff};
  server.receive(header);
  EXPECT_EQ(server.events(), Lines{"ended frame_too_large"});
}

TEST(Hostile, heads_without_credit_end_the_tunnel) {
  LoneSide server(Role::server);
  server.takes = false;
  server.receive(joined({open_frame(1), frame(head, 1, Bytes(head_payload_bytes_max))}));
  EXPECT_EQ(server.end_reason(), Reason::none);
  server.receive(frame(head, 1, Bytes(1)));
  EXPECT_EQ(server.end_reason(), Reason::flow_control);
}

TEST(Hostile, widen_is_reported_at_most_once_per_interval) {
  LoneSide agent(Role::agent);
  for (int i = 0; i < 1'000; ++i) agent.receive(frame(widen, 0));
  EXPECT_EQ(agent.events(), Lines{"widen wanted"});
}

TEST(Hostile, replicas_are_accepted_only_from_a_server_and_after_its_greeting) {
  const Bytes list = frame(replicas, 0, encode(Replicas{{"a"}}));
  LoneSide server(Role::server);
  server.receive(list);
  EXPECT_EQ(server.events(), Lines{"ended protocol"});
  const Time now{1};
  Side greeting({.role = Role::agent}, now);
  greeting.receive(list);
  EXPECT_EQ(greeting.end_reason(), Reason::protocol);
  LoneSide agent(Role::agent);
  agent.receive(frame(replicas, 0, bytes_of("\x81\xa8replicas\x91\xa0")));
  EXPECT_EQ(agent.end_reason(), Reason::protocol);
}

TEST(Hostile, wrong_ids_end_the_tunnel) {
  const auto reason_after = [](const Bytes& input, const std::function<void(Side&)>& prepare = {}) {
    LoneSide server(Role::server);
    if (prepare) prepare(server);
    server.receive(input);
    return server.end_reason();
  };
  EXPECT_EQ(reason_after(open_frame(2)), Reason::protocol) << "our own parity";
  EXPECT_EQ(reason_after(joined({open_frame(3), open_frame(3)})), Reason::protocol) << "used twice";
  EXPECT_EQ(reason_after(joined({open_frame(3), open_frame(1)})), Reason::protocol) << "backwards";
  EXPECT_EQ(reason_after(joined({open_frame(1), open_frame(7)})), Reason::none) << "gaps are allowed";
  EXPECT_EQ(reason_after(open_frame(stream_id_max)), Reason::none);
  for (const StreamId never : {1U, 2U, 5U, 4U}) {
    EXPECT_EQ(reason_after(number_frame(credit, never, 1)), Reason::protocol) << never;
    EXPECT_EQ(reason_after(frame(data, never)), Reason::protocol) << never;
    EXPECT_EQ(reason_after(reason_frame(reset, never, Reason::none)), Reason::protocol) << never;
  }
  const auto open_one = [](Side& side) { side.open("web"); };
  EXPECT_EQ(reason_after(number_frame(accept, 2, 1), open_one), Reason::protocol) << "OPEN has not left yet";
  EXPECT_EQ(reason_after(frame(reject, 2, encode(Reject{})), open_one), Reason::protocol);
}

TEST(Hostile, a_frame_for_a_stream_that_is_gone_is_counted_and_harms_nothing) {  // threats A9, A13
  LoneSide server(Role::server);
  server.receive(joined({open_frame(1), reason_frame(reset, 1, Reason::cancelled)}));
  server.clear_events();
  server.receive(joined({frame(data, 1, bytes_of("late")), number_frame(credit, 1, UINT64_MAX), frame(fin, 1),
                         reason_frame(stop, 1, Reason::none), reason_frame(reset, 1, Reason::none),
                         number_frame(accept, 1, 1), frame(reject, 1, encode(Reject{}))}));
  EXPECT_EQ(server.events(), Lines{});
  EXPECT_EQ(server.session.counters().late_frames, 7U);
}

TEST(Hostile, one_byte_beyond_the_credit_ends_the_tunnel) {  // threats A10
  for (const std::size_t over : {0UL, 1UL}) {
    LoneSide server(Role::server);
    server.accepts = server.takes = false;
    server.receive(joined({open_frame(1), frame(data, 1, Bytes(optimistic_bytes_max + over))}));
    EXPECT_EQ(server.end_reason(), over == 0 ? Reason::none : Reason::flow_control);

    LoneSide accepting(Role::server);
    accepting.takes = false;
    accepting.receive(open_frame(1));
    (void)accepting.send();
    for (int i = 0; i < 4; ++i) accepting.receive(frame(data, 1, Bytes(65'536)));
    EXPECT_EQ(accepting.end_reason(), Reason::none);
    accepting.receive(frame(data, 1, Bytes(over)));
    EXPECT_EQ(accepting.end_reason(), over == 0 ? Reason::none : Reason::flow_control);
  }
}

TEST(Hostile, stale_credit_is_counted_and_ignored) {  // threats A9
  LoneSide server(Role::server);
  server.receive(joined({open_frame(1, "web", 1'000), number_frame(credit, 1, 1'000), number_frame(credit, 1, 0)}));
  EXPECT_EQ(server.session.counters().stale_credits, 2U);
  EXPECT_EQ(server.end_reason(), Reason::none);
}

TEST(Hostile, credit_beyond_16_MiB_of_what_was_sent_ends_the_tunnel) {  // threats A9
  for (const std::uint64_t limit : {window_bytes_max, window_bytes_max + 1, UINT64_MAX}) {
    LoneSide server(Role::server);
    server.receive(joined({open_frame(1, "web", 0), number_frame(credit, 1, limit)}));
    EXPECT_EQ(server.end_reason(), limit == window_bytes_max ? Reason::none : Reason::flow_control) << limit;
    LoneSide agent(Role::agent);
    agent.open("web");
    (void)agent.send();
    agent.receive(number_frame(accept, 1, limit));
    EXPECT_EQ(agent.end_reason(), limit == window_bytes_max ? Reason::none : Reason::flow_control) << limit;
  }
}

TEST(Hostile, one_empty_data_frame_passes_and_a_second_in_a_row_is_a_flood) {  // threats A12
  LoneSide server(Role::server);
  const Bytes empty = frame(data, 1);
  const Bytes full = frame(data, 1, bytes_of("x"));
  server.receive(joined({open_frame(1), empty, full, empty, full}));
  EXPECT_EQ(server.end_reason(), Reason::none);
  server.receive(joined({empty, empty}));
  EXPECT_EQ(server.end_reason(), Reason::flood);
}

TEST(Hostile, pings_are_answered_once_and_a_flood_of_them_ends_the_tunnel) {  // threats A12
  LoneSide server(Role::server);
  for (std::uint64_t i = 1; i <= 20; ++i) server.receive(number_frame(ping, 0, i));
  EXPECT_EQ(server.end_reason(), Reason::none);
  EXPECT_EQ(server.send(), number_frame(ping, 0, 20, flag_pong)) << "the answers coalesce";
  server.receive(number_frame(ping, 0, 21));
  EXPECT_EQ(server.end_reason(), Reason::flood);
}

/// OPENs of `count` streams where none is allowed: each causes a REJECT, which is not read.
Bytes refused_opens(StreamId first, StreamId count) {
  Bytes input;
  for (StreamId i = 0; i < count; ++i) {
    const Bytes one = open_frame(first + 2 * i);
    input.insert(input.end(), one.begin(), one.end());
  }
  return input;
}

TEST(Hostile, a_peer_that_does_not_read_its_answers_is_given_ten_seconds) {  // threats A12
  LoneSide server(Role::server, {.streams_max = 0});
  server.now += 1h;
  server.receive(refused_opens(1, control_frames_queued_max));
  server.now += 11s;
  server.session.on_time(server.now);
  server.collect();
  EXPECT_EQ(server.end_reason(), Reason::none) << "this many answers may wait without a time limit";
  server.receive(refused_opens(2 * control_frames_queued_max + 1, 1));  // One more starts the clock.
  server.now += 9s;
  server.receive(number_frame(ping, 0, 1));
  server.session.on_time(server.now);
  server.collect();
  EXPECT_EQ(server.end_reason(), Reason::none);
  server.now += 1s;
  server.session.on_time(server.now);
  server.collect();
  EXPECT_EQ(server.end_reason(), Reason::flood);
}

TEST(Hostile, a_burst_of_answers_after_a_quiet_hour_is_not_a_flood) {
  LoneSide server(Role::server, {.streams_max = 0});
  server.now += 1h;
  server.receive(refused_opens(1, control_frames_queued_max + 1));
  server.session.on_time(server.now);
  server.collect();
  EXPECT_EQ(server.end_reason(), Reason::none);
}

TEST(Hostile, unread_answers_stop_at_a_hard_limit) {  // threats A7, A12
  LoneSide server(Role::server, {.streams_max = 0});
  server.receive(refused_opens(1, control_frames_queued_hard_max));
  EXPECT_EQ(server.end_reason(), Reason::none);
  server.receive(refused_opens(2 * control_frames_queued_hard_max + 1, 1));
  EXPECT_EQ(server.end_reason(), Reason::flood);
}

TEST(Hostile, endless_opening_and_resetting_leaves_nothing_behind) {  // threats A8
  LoneSide server(Role::server);
  for (StreamId id = 1; id < 20'000; id += 2) {
    server.receive(joined({open_frame(id), frame(data, id, Bytes(5'000)), reason_frame(reset, id, Reason::cancelled)}));
    server.clear_events();
  }
  EXPECT_EQ(server.session.streams(), 0U);
  EXPECT_EQ(server.session.window_bytes(), 0U);
  EXPECT_TRUE(server.send().empty());
}

TEST(Hostile, malformed_messages_end_the_tunnel) {
  for (const FrameType type : {open, reject, goaway}) {
    LoneSide agent(Role::agent);
    agent.open("web");
    (void)agent.send();
    agent.receive(frame(type, type == open ? 2 : type == reject ? 1 : 0, bytes_of("\x81\xa1")));
    EXPECT_EQ(agent.end_reason(), Reason::protocol);
  }
}

TEST(Hostile, the_ignorable_range_is_skipped_and_counted) {  // threats A1
  LoneSide server(Role::server);
  server.receive(joined({frame(FrameType{0x80}, 0, Bytes(100)), frame(FrameType{0xff}, 9, {}, 0xff), open_frame(1)}));
  EXPECT_EQ(server.events(), Lines{"opened 1 web"});
  EXPECT_EQ(server.session.frames_skipped(), 2U);
}

// ---- Each frame in each state of a stream (threats A14), by a second copy of the receiving half of SPEC 6.2.

enum class Meets { going, gone, breach };
struct Situation {
  const char* name;
  std::function<StreamId(LoneSide&)> prepare;  ///< Brings an agent's stream into the state; returns its id.
  std::string_view row;  ///< ACCEPT REJECT DATA CREDIT FIN RESET STOP: + allowed, x breach, - late.
};

StreamId own(LoneSide& side) {
  const StreamId id = side.open("web");
  (void)side.send();
  return id;
}
StreamId peers(LoneSide& side) {
  side.accepts = false;
  side.receive(open_frame(2));
  return 2;
}
StreamId with(LoneSide& side, StreamId id, const Bytes& input) {
  side.receive(input);
  return id;
}
StreamId after_end(LoneSide& side, StreamId id) {
  side.finish(id);
  (void)side.send();
  return id;
}
StreamId accepted(LoneSide& side) {
  const StreamId id = own(side);
  return with(side, id, number_frame(accept, id, 100'000));
}

const std::vector<Situation> situations{
    {"opening", own, "++xxxxx"},
    {"opening, finished", [](LoneSide& s) { return after_end(s, own(s)); }, "++xxxxx"},
    {"offered", peers, "xx++++x"},
    {"offered, finished", [](LoneSide& s) { return with(s, peers(s), frame(fin, 2)); }, "xxx+x+x"},
    {"open", accepted, "xx+++++"},
    {"open, accepted by us",
     [](LoneSide& s) {
       peers(s);
       s.accept(2);
       (void)s.send();
       return StreamId{2};
     },
     "xx+++++"},
    {"after our FIN", [](LoneSide& s) { return after_end(s, accepted(s)); }, "xx+++++"},
    {"after the peer's FIN", [](LoneSide& s) { return with(s, accepted(s), frame(fin, 1)); }, "xxx+x++"},
    {"after our RESET",
     [](LoneSide& s) {
       const StreamId id = accepted(s);
       s.session.reset(id, Reason::cancelled);
       return id;
     },
     "-------"},
    {"after the peer's RESET",
     [](LoneSide& s) { return with(s, accepted(s), reason_frame(reset, 1, Reason::cancelled)); }, "-------"},
    {"after both FINs", [](LoneSide& s) { return with(s, after_end(s, accepted(s)), frame(fin, 1)); }, "-------"},
};

TEST(Hostile, every_frame_is_handled_in_every_state_of_a_stream_as_the_table_says) {
  for (const Situation& situation : situations) {
    for (std::size_t column = 0; column < 7; ++column) {
      LoneSide agent(Role::agent);
      const StreamId id = situation.prepare(agent);
      const std::vector<Bytes> frames{number_frame(accept, id, 100'000),
                                      frame(reject, id, encode(Reject{})),
                                      frame(data, id, bytes_of("x")),
                                      number_frame(credit, id, 100'001),
                                      frame(fin, id),
                                      reason_frame(reset, id, Reason::cancelled),
                                      reason_frame(stop, id, Reason::cancelled)};
      ASSERT_EQ(agent.end_reason(), Reason::none) << situation.name;
      const auto late = agent.session.counters().late_frames;
      agent.receive(frames[column]);
      const char seen = agent.end_reason() == Reason::protocol        ? 'x'
                        : agent.session.counters().late_frames > late ? '-'
                                                                      : '+';
      EXPECT_EQ(seen, situation.row[column]) << situation.name << ", column " << column;
      if (seen != 'x') EXPECT_EQ(agent.end_reason(), Reason::none);
      (void)agent.send();
    }
  }
}

}  // namespace
}  // namespace culvert::protocol
