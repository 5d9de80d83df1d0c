// SPDX-License-Identifier: Apache-2.0
#include "server/agents/unproven_connections.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using boost::asio::ip::make_address;

constexpr double least = 0;         // The most unlucky connection.
constexpr double most = 1 - 1e-12;  // The luckiest.

/// Lets connections in until one is dropped, and returns how many there are.
std::uint32_t fill(UnprovenConnections& all, const char* source, double chance) {
  while (all.admit(make_address(source), chance)) {
  }
  return all.size();
}

TEST(UnprovenConnections, of_one_source_alone_are_dropped_more_likely_the_more_there_are) {
  struct Case {
    double chance;
    std::uint32_t first_dropped;
  };
  for (const Case& each : {Case{least, 513}, Case{0.25, 609}, Case{0.5, 705}, Case{0.75, 801}, Case{most, 896}}) {
    UnprovenConnections all;
    EXPECT_EQ(fill(all, "10.0.0.1", each.chance), each.first_dropped) << each.chance;
  }
}

TEST(UnprovenConnections, of_a_flood_from_one_source_drop_none_of_another_source) {
  UnprovenConnections all;
  fill(all, "10.0.0.1", most);
  for (int i = 0; i < 128; ++i) {
    EXPECT_FALSE(all.admit(make_address("10.0.0.1"), most));
    EXPECT_TRUE(all.admit(make_address("10.0.0.2"), least)) << i;
  }
  EXPECT_EQ(all.size(), 1'024U);
  EXPECT_FALSE(all.admit(make_address("10.0.0.2"), most)) << "the limit of all is for every source";
  EXPECT_FALSE(all.admit(make_address("10.0.0.3"), most));
}

TEST(UnprovenConnections, of_a_flood_from_many_sources_leave_room_for_another_source) {
  UnprovenConnections all;
  for (int round = 0; round < 1'000; ++round) {
    for (const char* source : {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"})
      all.admit(make_address(source), most);
  }
  EXPECT_LT(all.size(), 1'024U - 100);
  EXPECT_TRUE(all.admit(make_address("10.0.1.1"), least));
}

TEST(UnprovenConnections, count_a_network_of_ipv6_as_one_source) {
  UnprovenConnections all;
  fill(all, "2001:db8::1", most);
  EXPECT_FALSE(all.admit(make_address("2001:db8::2:1"), most));
  EXPECT_TRUE(all.admit(make_address("2001:db8:0:1::1"), least));
  EXPECT_TRUE(all.admit(make_address("10.0.0.1"), least));
}

TEST(UnprovenConnections, are_fewer_where_descriptors_are_few) {
  UnprovenConnections all(128);
  EXPECT_EQ(fill(all, "10.0.0.1", most), 112U);
  EXPECT_EQ(fill(all, "10.0.0.2", least), 128U);
  UnprovenConnections few(128);
  EXPECT_EQ(fill(few, "10.0.0.1", least), 65U);
}

TEST(UnprovenConnections, that_leave_make_room) {
  UnprovenConnections all;
  fill(all, "10.0.0.1", most);
  all.leave(make_address("10.0.0.1"));
  EXPECT_TRUE(all.admit(make_address("10.0.0.1"), most));
  for (std::uint32_t i = 0; i <= 1'024U; ++i) all.leave(make_address("10.0.0.1"));
  EXPECT_EQ(all.size(), 0u);
  EXPECT_EQ(fill(all, "10.0.0.1", most), 896U);
}

}  // namespace
}  // namespace culvert::server
