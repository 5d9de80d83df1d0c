// SPDX-License-Identifier: Apache-2.0
// Sessions and certificates: join connections (SPEC 8.6), and renewal through the tunnel (SPEC 8.7).
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "protocol/session.hpp"
#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

using Lines = std::vector<std::string>;
using namespace std::chrono_literals;

const Issued issued{.chain = bytes_of("chain"), .authorities = bytes_of("authorities"), .lifetime = 60s};
const Denied denied{Reason::token_used, false, "used"};
const Bytes renewal = renew_frame({.request = bytes_of("request")});
const Bytes late_renewal = renew_frame({bytes_of("request"), bytes_of("certificate"), bytes_of("signature")});

Bytes joining() {
  return join_frame({.token = "id", .request = bytes_of("request")});
}

Bytes final_goaway(Reason reason, std::string text) {
  return frame(FrameType::goaway, 0,
               encode(Goaway{.kind = Goaway::Kind::final, .reason = reason, .text = std::move(text)}));
}

// ---- Join connections

/// A server's side of a join connection that has heard nothing yet.
class JoinSession : public Clock, public Side {
 public:
  JoinSession() : Side({.role = Role::server}, now) { session.expect_join(); }
  void pass(Time time) {
    now += time;
    session.on_time(now);
    collect();
  }
};

TEST(JoinSession, a_join_is_reported_with_all_that_it_says) {
  JoinSession server;
  Join join{.token = "k7_-Z", .software = "s", .request = bytes_of("request")};
  join.secret.fill(std::byte{0xa5});
  const Bytes bytes = join_frame(join);
  for (const std::byte& byte : bytes) {
    EXPECT_FALSE(server.session.next_event());
    server.session.feed(std::span(&byte, 1), server.now);
  }
  const auto event = server.session.next_event();
  ASSERT_TRUE(event && std::holds_alternative<JoinAsked>(*event));
  EXPECT_EQ(std::get<JoinAsked>(*event).join, join);
}

TEST(JoinSession, the_answer_is_followed_by_a_final_goaway_and_the_end) {
  for (const Enrolled& answer : {Enrolled(issued), Enrolled(denied)}) {
    for (const Bytes& asked : {joining(), late_renewal}) {
      JoinSession server;
      server.receive(asked);
      EXPECT_EQ(server.events(), Lines{asked == late_renewal ? "renew asked 7" : "join asked id"});
      EXPECT_EQ(server.send(), Bytes{}) << "nothing is said before the answer";
      server.clear_events();
      server.session.answer(answer);
      EXPECT_EQ(server.send(), joined({answer_frame(answer), final_goaway(Reason::none, "")}));
      EXPECT_EQ(server.events(), Lines{"ended none"});
      EXPECT_EQ(server.session.deadline(), Time::max());
    }
  }
}

TEST(JoinSession, the_longest_answer_leaves_in_the_room_that_drivers_have) {
  JoinSession server;
  server.receive(joining());
  const Issued longest{Bytes(certificates_bytes_max), Bytes(certificates_bytes_max), 366 * 24h};
  server.session.answer(longest);
  EXPECT_EQ(server.send(1'000), Bytes{}) << "GOAWAY would fit, but comes last";
  EXPECT_EQ(server.send(outgoing_bytes_min), joined({answer_frame(longest), final_goaway(Reason::none, "")}));
}

TEST(JoinSession, another_first_frame_ends_it) {
  const Renew alone{.request = bytes_of("request")};
  for (const Bytes& first :
       {hello_frame(), welcome_frame(), open_frame(1), frame(FrameType::data, 1), number_frame(FrameType::ping, 0, 1),
        frame(FrameType::widen, 0), answer_frame(issued), answer_frame(denied), renew_frame(alone),
        frame(FrameType{0x99}, 0), frame(FrameType::join, 0, bytes_of("\x80")),
        frame(FrameType::renew, 0, bytes_of("\x80")), frame(FrameType::goaway, 0, encode(Goaway{}))}) {
    JoinSession server;
    server.receive(first);
    EXPECT_EQ(server.events(), Lines{"ended protocol"}) << std::to_integer<int>(first[0]);
  }
}

TEST(JoinSession, a_frame_after_the_first_ends_it_before_and_after_the_answer) {
  for (const Bytes& second : {joining(), late_renewal, renewal, hello_frame(), open_frame(1),
                              number_frame(FrameType::ping, 0, 1), frame(FrameType{0x99}, 0)}) {
    JoinSession server;
    server.receive(joined({joining(), second}));
    EXPECT_EQ(server.events(), (Lines{"join asked id", "ended protocol"})) << std::to_integer<int>(second[0]);
    server.session.answer(issued);
    EXPECT_EQ(server.send()[0], std::byte{0x03}) << "an answer that comes too late is not sent";
  }
  JoinSession server;
  server.answer = issued;
  server.receive(joined({joining(), joining()}));
  EXPECT_EQ(server.events(), (Lines{"join asked id", "ended none"})) << "asked once";
}

TEST(JoinSession, an_agent_that_gives_up_ends_it) {
  for (const bool asked : {false, true}) {
    JoinSession server;
    if (asked) server.receive(joining());
    server.clear_events();
    server.receive(final_goaway(Reason::shutdown, ""));
    EXPECT_EQ(server.events(), Lines{"ended shutdown by peer"});
    server.session.answer(issued);
    EXPECT_EQ(server.send(), Bytes{});
  }
}

TEST(JoinSession, the_first_frame_has_10_s_and_the_answer_60) {
  JoinSession silent;
  silent.receive(Bytes(1, std::byte{0x07}));
  EXPECT_EQ(silent.session.deadline(), silent.now + 10s);
  silent.pass(9'999ms);
  EXPECT_EQ(silent.events(), Lines{});
  silent.pass(1ms);
  EXPECT_EQ(silent.events(), Lines{"ended timed_out"});

  JoinSession asked;
  asked.pass(9s);
  asked.receive(joining());
  asked.clear_events();
  EXPECT_EQ(asked.session.deadline(), asked.now + 60s);
  asked.pass(59'999ms);
  EXPECT_EQ(asked.send(), Bytes{}) << "no PING";
  EXPECT_EQ(asked.events(), Lines{});
  asked.pass(1ms);
  EXPECT_EQ(asked.events(), Lines{"ended timed_out"});
}

TEST(JoinSession, it_has_no_streams_and_nothing_else_of_a_tunnel) {
  JoinSession server;
  for (int round = 0; round < 2; ++round) {
    EXPECT_FALSE(server.session.may_open());
    EXPECT_FALSE(server.session.is_greeted());
    EXPECT_EQ(server.open("web"), 0U);
    server.session.ask_to_widen();
    server.session.tell_replicas({"r"});
    server.session.drain(Reason::shutdown, 1s);
    EXPECT_EQ(server.send(), Bytes{});
    if (round == 0) server.receive(joining());
  }
  server.session.answer(issued);
  EXPECT_EQ(server.send(), joined({answer_frame(issued), final_goaway(Reason::none, "")})) << "a drain changes nothing";
}

TEST(JoinSession, only_a_server_that_expects_it_hears_a_join) {
  const auto reason_after = [](Role role, const Bytes& input) {
    const Time now{1};
    Side side({.role = role}, now);
    side.receive(input);
    return side.end_reason();
  };
  EXPECT_EQ(reason_after(Role::server, joining()), Reason::protocol);
  EXPECT_EQ(reason_after(Role::server, late_renewal), Reason::protocol);
  EXPECT_EQ(reason_after(Role::agent, joining()), Reason::protocol);
  for (const Role role : {Role::server, Role::agent}) {
    LoneSide greeted(role);
    greeted.receive(joining());
    EXPECT_EQ(greeted.events(), Lines{"ended protocol"});
  }
}

TEST(JoinSessionDeathTest, answer_needs_a_question_and_expect_join_comes_first) {
  JoinSession silent;
  EXPECT_DEATH(silent.session.answer(denied), "answers one JOIN or RENEW");
  LoneSide server(Role::server);
  EXPECT_DEATH(server.session.answer(denied), "answers one JOIN or RENEW");
  EXPECT_DEATH(server.session.expect_join(), "before the first frame");
}

// ---- Renewal through the tunnel

TEST(Renewal, an_answer_comes_back_to_the_agent_and_the_tunnel_lives_on) {
  SessionPair pair;
  pair.server.answer = issued;
  pair.agent.session.renew({.request = bytes_of("request")});
  pair.pump();
  EXPECT_TRUE(pair.server.saw("renew asked 7"));
  EXPECT_TRUE(pair.agent.saw("issued"));
  pair.pass(1s);
  pair.server.answer = denied;
  pair.agent.session.renew({.request = bytes_of("request")});
  pair.pump();
  EXPECT_TRUE(pair.agent.saw("denied token_used"));
  EXPECT_NE(pair.agent.open("web"), 0U);
  pair.pump();
  EXPECT_TRUE(pair.server.saw("opened 1 web"));
}

TEST(Renewal, an_answer_that_takes_long_is_waited_for) {
  SessionPair pair;
  pair.agent.session.renew({.request = bytes_of("request")});
  pair.pass(120s);
  pair.server.session.answer(issued);
  pair.pump();
  EXPECT_TRUE(pair.agent.saw("issued"));
}

TEST(Renewal, goes_on_while_both_sides_drain) {
  SessionPair pair;
  pair.server.answer = issued;
  pair.agent.session.drain(Reason::shutdown, 1s);
  pair.server.session.drain(Reason::shutdown, 1s);
  pair.pump();
  pair.agent.session.renew({.request = bytes_of("request")});
  pair.pump();
  EXPECT_TRUE(pair.agent.saw("issued"));
}

TEST(Renewal, a_second_request_before_the_answer_has_left_is_a_flood) {
  LoneSide asks(Role::server);
  asks.receive(joined({renewal, renewal}));
  EXPECT_EQ(asks.events(), (Lines{"renew asked 7", "ended flood"}));

  LoneSide unread(Role::server);
  unread.answer = issued;
  unread.receive(renewal);
  unread.now += 10s;
  unread.receive(renewal);
  EXPECT_EQ(unread.end_reason(), Reason::flood) << "whoever does not read cannot make answers pile up";
}

TEST(Renewal, two_within_500_ms_are_a_flood) {
  for (const auto& [pause, reason] : {std::pair{499ms, Reason::flood}, std::pair{500ms, Reason::none}}) {
    LoneSide server(Role::server);
    server.answer = denied;
    server.receive(renewal);
    (void)server.send();
    server.now += pause;
    server.receive(renewal);
    EXPECT_EQ(server.end_reason(), reason);
  }
}

TEST(Renewal, on_a_tunnel_its_own_certificate_says_who_asks) {
  LoneSide server(Role::server);
  server.receive(late_renewal);
  EXPECT_EQ(server.events(), Lines{"ended protocol"});
  LoneSide malformed(Role::server);
  malformed.receive(frame(FrameType::renew, 0, bytes_of("\x80")));
  EXPECT_EQ(malformed.events(), Lines{"ended protocol"});
}

TEST(Renewal, comes_only_from_a_greeted_agent) {
  const Time now{1};
  Side early({.role = Role::server}, now);
  early.welcomes = false;
  early.receive(joined({hello_frame(), renewal}));
  EXPECT_EQ(early.events(), (Lines{"greeted", "ended protocol"}));
  LoneSide agent(Role::agent);
  agent.receive(renewal);
  EXPECT_EQ(agent.events(), Lines{"ended protocol"});
}

TEST(Renewal, an_answer_that_was_not_asked_for_ends_the_tunnel) {
  for (const Bytes& answer : {answer_frame(issued), answer_frame(denied)}) {
    LoneSide agent(Role::agent);
    agent.receive(answer);
    EXPECT_EQ(agent.events(), Lines{"ended protocol"});

    LoneSide twice(Role::agent);
    twice.session.renew({.request = bytes_of("request")});
    twice.receive(joined({answer, answer}));
    EXPECT_EQ(twice.events().size(), 2U);
    EXPECT_EQ(twice.end_reason(), Reason::protocol);

    LoneSide server(Role::server);
    server.receive(answer);
    EXPECT_EQ(server.events(), Lines{"ended protocol"});
  }
  LoneSide malformed(Role::agent);
  malformed.session.renew({.request = bytes_of("request")});
  malformed.receive(frame(FrameType::issued, 0, bytes_of("\x80")));
  EXPECT_EQ(malformed.events(), Lines{"ended protocol"});
}

TEST(Renewal, an_answer_after_the_tunnels_end_does_nothing) {
  LoneSide server(Role::server);
  server.receive(renewal);
  server.session.close(Reason::shutdown, "bye");
  server.session.answer(issued);
  EXPECT_EQ(server.send(), final_goaway(Reason::shutdown, "bye"));
  LoneSide agent(Role::agent);
  agent.session.close(Reason::shutdown, "bye");
  agent.session.renew({.request = bytes_of("request")});
  EXPECT_EQ(agent.send(), final_goaway(Reason::shutdown, "bye"));
}

TEST(Renewal, urgent_frames_of_streams_overtake_an_answer_that_waits_for_room) {
  LoneSide server(Role::server);
  server.receive(joined({open_frame(1), renewal}));
  (void)server.send();
  server.session.answer(Issued{Bytes(certificates_bytes_max), Bytes(certificates_bytes_max), 60s});
  server.session.stop(1, Reason::cancelled);
  EXPECT_EQ(server.send(1'000), reason_frame(FrameType::stop, 1, Reason::cancelled));
  EXPECT_EQ(server.send().size(),
            answer_frame(Issued{Bytes(certificates_bytes_max), Bytes(certificates_bytes_max), 60s}).size());
}

TEST(RenewalDeathTest, the_driver_asks_once_at_a_time_after_the_greeting_and_without_a_certificate) {
  const Renew request{.request = bytes_of("request")};
  const Time now{1};
  Side early({.role = Role::agent}, now);
  EXPECT_DEATH(early.session.renew(request), "after the greeting");
  LoneSide server(Role::server);
  EXPECT_DEATH(server.session.renew(request), "the agent asks");
  LoneSide agent(Role::agent);
  EXPECT_DEATH(agent.session.renew({bytes_of("r"), bytes_of("c"), bytes_of("s")}), "the tunnel proves who asks");
  agent.session.renew(request);
  EXPECT_DEATH(agent.session.renew(request), "one request at a time");
}

}  // namespace
}  // namespace culvert::protocol
