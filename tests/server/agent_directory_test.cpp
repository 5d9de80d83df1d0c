// SPDX-License-Identifier: Apache-2.0
#include "server/agent_directory.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

constexpr const char* one = "spiffe://test.example/account/acme/agent/one";
constexpr const char* two = "spiffe://test.example/account/acme/agent/two";

protocol::Hello hello(unsigned char instance, std::uint64_t epoch, std::uint32_t slot) {
  protocol::Hello message;
  message.instance[0] = std::byte{instance};
  message.epoch = epoch;
  message.slot = slot;
  return message;
}

std::vector<std::uint64_t> ids(const std::vector<TunnelPlace>& places) {
  std::vector<std::uint64_t> all;
  for (const TunnelPlace& place : places) all.push_back(place.id);
  return all;
}

using Ids = std::vector<std::uint64_t>;

TEST(AgentDirectory, another_slot_joins_the_link) {
  AgentDirectory agents;
  EXPECT_TRUE(agents.join(one, hello(1, 1, 0), {10, 0}).evicted.empty());
  EXPECT_TRUE(agents.join(one, hello(1, 1, 1), {11, 1}).evicted.empty());
  EXPECT_EQ(agents.links(), 1U);
}

TEST(AgentDirectory, the_same_slot_takes_over_from_one_tunnel) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0});
  (void)agents.join(one, hello(1, 1, 1), {11, 0});
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 0), {12, 0}).evicted), (Ids{10}));
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 0), {13, 0}).evicted), (Ids{12}))
      << "the newcomer is the one who stands now";
}

TEST(AgentDirectory, a_higher_epoch_takes_over_from_the_whole_link) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0});
  (void)agents.join(one, hello(1, 1, 1), {11, 0});
  EXPECT_EQ(ids(agents.join(one, hello(1, 2, 7), {12, 0}).evicted), (Ids{10, 11}));
  EXPECT_TRUE(agents.join(one, hello(1, 2, 8), {13, 0}).evicted.empty());
}

TEST(AgentDirectory, a_lower_epoch_is_refused_and_changes_nothing) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 2, 0), {10, 0});
  const auto late = agents.join(one, hello(1, 1, 0), {11, 0});
  EXPECT_TRUE(late.stale);
  EXPECT_TRUE(late.evicted.empty());
  EXPECT_EQ(ids(agents.join(one, hello(1, 2, 0), {12, 0}).evicted), (Ids{10}));
}

TEST(AgentDirectory, another_instance_of_an_identity_is_a_second_pair_of_hands) {
  AgentDirectory agents;
  EXPECT_FALSE(agents.join(one, hello(1, 5, 0), {10, 0}).second_instance);
  const auto second = agents.join(one, hello(2, 1, 0), {11, 0});
  EXPECT_TRUE(second.second_instance);
  EXPECT_FALSE(second.stale);
  EXPECT_TRUE(second.evicted.empty());
  EXPECT_EQ(agents.links(), 2U);
}

TEST(AgentDirectory, the_same_instance_number_of_another_identity_is_a_stranger) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0});
  const auto other = agents.join(two, hello(1, 9, 0), {11, 0});
  EXPECT_TRUE(other.evicted.empty());
  EXPECT_FALSE(other.second_instance);
}

TEST(AgentDirectory, a_link_ends_with_its_last_tunnel) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 2, 0), {10, 0});
  (void)agents.join(one, hello(1, 2, 1), {11, 0});
  agents.leave(10);
  EXPECT_EQ(agents.links(), 1U);
  agents.leave(11);
  agents.leave(11);
  EXPECT_EQ(agents.links(), 0U);
  EXPECT_FALSE(agents.join(one, hello(1, 1, 0), {12, 0}).stale);
}

TEST(AgentDirectory, an_evicted_tunnel_that_closes_late_takes_nobody_along) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0});
  (void)agents.join(one, hello(1, 1, 0), {11, 0});
  agents.leave(10);
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 0), {12, 0}).evicted), (Ids{11}));
}

TEST(AgentDirectory, all_tunnels_of_a_link_share_its_quota) {
  AgentDirectory agents;
  const auto first = agents.join(one, hello(1, 1, 0), {10, 0});
  const auto second = agents.join(one, hello(1, 1, 1), {11, 0});
  const auto other = agents.join(one, hello(2, 1, 0), {12, 0});
  EXPECT_EQ(first.quota.streams, second.quota.streams);
  EXPECT_NE(first.quota.streams, other.quota.streams);
}

}  // namespace
}  // namespace culvert::server
