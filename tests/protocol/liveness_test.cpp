// SPDX-License-Identifier: Apache-2.0
#include "protocol/liveness.hpp"

#include <gtest/gtest.h>

namespace culvert::protocol {
namespace {

using namespace std::chrono_literals;
using Due = Liveness::Due;
constexpr Time start = 100s;

TEST(Liveness, gives_a_greeting_ten_seconds) {
  Liveness liveness(start);
  EXPECT_EQ(liveness.deadline(false), start + 10s);
  EXPECT_EQ(liveness.due(start + 10s - 1us, false), Due::nothing);
  EXPECT_EQ(liveness.due(start + 10s, false), Due::dead);
}

TEST(Liveness, pings_after_four_silent_seconds_and_again_four_later) {
  Liveness liveness(start);
  EXPECT_EQ(liveness.deadline(true), start + 4s);
  EXPECT_EQ(liveness.due(start + 4s - 1us, true), Due::nothing);
  EXPECT_EQ(liveness.due(start + 4s, true), Due::ping);
  EXPECT_EQ(liveness.due(start + 4s, true), Due::nothing);
  EXPECT_EQ(liveness.deadline(true), start + 8s);
  EXPECT_EQ(liveness.due(start + 8s, true), Due::ping);
}

TEST(Liveness, declares_the_peer_dead_after_twelve_silent_seconds) {
  Liveness liveness(start);
  liveness.received(start + 1s);
  EXPECT_EQ(liveness.due(start + 13s - 1us, true), Due::ping);
  EXPECT_EQ(liveness.deadline(true), start + 13s);
  EXPECT_EQ(liveness.due(start + 13s, true), Due::dead);
}

TEST(Liveness, pings_once_a_second_while_data_comes) {
  Liveness liveness(start);
  liveness.received(start + 1ms);
  liveness.received_data(start + 1ms);
  EXPECT_EQ(liveness.deadline(true), start + 1s);
  EXPECT_EQ(liveness.due(start + 1s, true), Due::ping);
  EXPECT_EQ(liveness.due(start + 2s, true), Due::nothing);  // The second was idle: no data came.
  liveness.received_data(start + 2s);
  EXPECT_EQ(liveness.due(start + 2s, true), Due::ping);
}

TEST(Liveness, measures_the_round_trip_of_its_own_last_ping_only) {
  Liveness liveness(start);
  liveness.pong(start, start + 1s);
  EXPECT_EQ(liveness.round_trip(), std::nullopt);
  EXPECT_EQ(liveness.due(start + 4s, true), Due::ping);
  liveness.pong(start + 4s + 1us, start + 5s);
  EXPECT_EQ(liveness.round_trip(), std::nullopt);
  liveness.pong(start + 4s, start + 4s + 30ms);
  EXPECT_EQ(liveness.round_trip(), Time(30ms));
  liveness.pong(start + 4s, start + 6s);
  EXPECT_EQ(liveness.round_trip(), Time(30ms)) << "a second answer to one ping is ignored";
}

Time answered(Liveness& liveness, Time at, Time round_trip) {
  EXPECT_EQ(liveness.due(at, true), Due::ping);
  liveness.pong(at, at + round_trip);
  liveness.received(at);
  return at;
}

TEST(Liveness, remembers_the_shortest_round_trip_for_thirty_seconds_at_most) {
  Liveness liveness(start);
  answered(liveness, start + 4s, 10ms);
  answered(liveness, start + 8s, 50ms);
  EXPECT_EQ(liveness.round_trip_min(), Time(10ms));
  Time now = start + 8s;
  for (int i = 0; i < 8; ++i) answered(liveness, now += 4s, 50ms);
  EXPECT_EQ(liveness.round_trip_min(), Time(50ms));
}

TEST(Liveness, allows_the_pings_of_two_seconds_at_once_and_then_ten_per_second) {
  Liveness liveness(start);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(liveness.allow_ping(start)) << i;
  EXPECT_FALSE(liveness.allow_ping(start));
  EXPECT_FALSE(liveness.allow_ping(start + 99ms));
  EXPECT_TRUE(liveness.allow_ping(start + 100ms));
  EXPECT_FALSE(liveness.allow_ping(start + 100ms));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(liveness.allow_ping(start + 1h));
  EXPECT_FALSE(liveness.allow_ping(start + 1h));
}

}  // namespace
}  // namespace culvert::protocol
