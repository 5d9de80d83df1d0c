// SPDX-License-Identifier: Apache-2.0
#include "protocol/stream_table.hpp"

#include <gtest/gtest.h>

#include "protocol/limits.hpp"

namespace culvert::protocol {
namespace {

constexpr Time now{1};

TEST(StreamTable, gives_ids_of_our_own_parity_in_rising_order) {
  StreamTable agent(Role::agent, stream_id_max);
  StreamTable server(Role::server, stream_id_max);
  EXPECT_EQ(agent.open(0, now).id, 1U);
  EXPECT_EQ(agent.open(0, now).id, 3U);
  EXPECT_EQ(server.open(0, now).id, 2U);
}

TEST(StreamTable, admits_ids_of_the_peers_parity_above_the_last) {
  StreamTable server(Role::server, stream_id_max);
  server.note_peer_id(5);
  EXPECT_TRUE(server.may_come(7));
  EXPECT_TRUE(server.may_come(101)) << "gaps are allowed";
  EXPECT_FALSE(server.may_come(8)) << "our own parity";
  EXPECT_FALSE(server.may_come(5)) << "used twice";
  EXPECT_FALSE(server.may_come(3)) << "backwards";
}

TEST(StreamTable, tells_an_id_that_was_used_or_left_out_from_one_that_never_was) {
  StreamTable server(Role::server, stream_id_max);
  EXPECT_FALSE(server.was_used(1));
  EXPECT_FALSE(server.was_used(2));
  server.note_peer_id(5);
  server.erase(server.open(0, now));
  EXPECT_TRUE(server.was_used(2));
  EXPECT_TRUE(server.was_used(3));
  EXPECT_TRUE(server.was_used(5));
  EXPECT_FALSE(server.was_used(4));
  EXPECT_FALSE(server.was_used(7));
}

TEST(StreamTable, runs_out_of_ids_before_the_largest_is_passed) {
  StreamTable agent(Role::agent, 7);
  for (int i = 0; i < 2; ++i) EXPECT_LE(agent.open(0, now).id, 7U);
  EXPECT_FALSE(agent.ids_exhausted());
  EXPECT_LE(agent.open(0, now).id, 7U);
  EXPECT_TRUE(agent.ids_exhausted());
}

TEST(StreamTable, sums_the_windows_of_the_streams_that_are_not_released) {
  StreamTable server(Role::server, stream_id_max);
  Stream& own = server.open(window_bytes_start, now);
  server.note_peer_id(1);
  Stream& peers = server.offer(1, 0, now);
  EXPECT_EQ(server.window_bytes(), window_bytes_start + optimistic_bytes_max);
  EXPECT_EQ(server.peer_streams(), 1U);
  server.grow(peers, 10);
  server.release(own);
  EXPECT_EQ(server.window_bytes(), optimistic_bytes_max + 10);
  server.erase(own);
  server.release(peers);
  server.erase(peers);
  EXPECT_EQ(server.window_bytes(), 0U);
  EXPECT_EQ(server.peer_streams() + server.size(), 0U);
}

}  // namespace
}  // namespace culvert::protocol
