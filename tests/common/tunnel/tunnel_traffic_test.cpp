// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/tunnel_traffic.hpp"

#include <gtest/gtest.h>

namespace culvert {
namespace {

constexpr std::size_t piece = 64 << 10;

void carry_bulk(TunnelTraffic& tunnel, StreamTraffic& stream) {
  for (std::uint64_t sent = 0; sent < TunnelTraffic::busy_bytes; sent += piece) tunnel.carry(stream, piece);
}

TEST(TunnelTraffic, an_ended_stream_takes_what_it_carried_with_it) {
  TunnelTraffic tunnel;
  StreamTraffic bulk;
  StreamTraffic small;
  carry_bulk(tunnel, bulk);
  tunnel.begin_second();
  carry_bulk(tunnel, bulk);
  tunnel.carry(small, 100);
  EXPECT_EQ(tunnel.recent_bytes(), 2 * TunnelTraffic::busy_bytes + 100);
  EXPECT_EQ(tunnel.busy_streams(), 1U);
  tunnel.end(bulk);
  EXPECT_EQ(tunnel.recent_bytes(), 100U);
  EXPECT_EQ(tunnel.busy_streams(), 0U);
}

TEST(TunnelTraffic, a_stream_is_busy_until_a_whole_second_has_passed_without_bulk) {
  TunnelTraffic tunnel;
  StreamTraffic stream;
  carry_bulk(tunnel, stream);
  tunnel.begin_second();
  EXPECT_EQ(tunnel.busy_streams(), 1U);
  carry_bulk(tunnel, stream);
  EXPECT_EQ(tunnel.busy_streams(), 1U);
  tunnel.begin_second();
  EXPECT_EQ(tunnel.busy_streams(), 1U);
  tunnel.begin_second();
  EXPECT_EQ(tunnel.busy_streams(), 0U);
  EXPECT_EQ(tunnel.recent_bytes(), 0U);
  tunnel.end(stream);
  EXPECT_EQ(tunnel.busy_streams(), 0U);
  EXPECT_EQ(tunnel.recent_bytes(), 0U);
}

TEST(TunnelTraffic, many_small_messages_are_no_bulk) {
  TunnelTraffic tunnel;
  StreamTraffic stream;
  for (int i = 0; i < 10'000; ++i) tunnel.carry(stream, 400);
  EXPECT_EQ(tunnel.busy_streams(), 0U);
  EXPECT_EQ(tunnel.recent_bytes(), 4'000'000U);
}

TEST(TunnelTraffic, a_stream_that_paused_for_long_leaves_nothing_behind) {
  TunnelTraffic tunnel;
  StreamTraffic stream;
  carry_bulk(tunnel, stream);
  for (int i = 0; i < 5; ++i) tunnel.begin_second();
  tunnel.carry(stream, 7);
  EXPECT_EQ(tunnel.recent_bytes(), 7U);
  EXPECT_EQ(tunnel.busy_streams(), 0U);
  tunnel.end(stream);
  EXPECT_EQ(tunnel.recent_bytes(), 0U);
}

}  // namespace
}  // namespace culvert
