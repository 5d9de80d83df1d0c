// SPDX-License-Identifier: Apache-2.0
#include "server/agents/agent_directory.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

constexpr const char* one = "spiffe://test.example/account/acme/agent/one";
constexpr const char* two = "spiffe://test.example/account/acme/agent/two";

constexpr std::size_t many = 1'000;

protocol::Hello hello(unsigned char instance, std::uint64_t epoch, std::uint32_t slot) {
  protocol::Hello message;
  message.instance[0] = std::byte{instance};
  message.epoch = epoch;
  message.slot = slot;
  return message;
}

std::vector<std::uint64_t> ids(const std::vector<TunnelRef>& refs) {
  std::vector<std::uint64_t> all;
  for (const TunnelRef& ref : refs) all.push_back(ref.id);
  return all;
}

using Ids = std::vector<std::uint64_t>;

TEST(AgentDirectory, another_slot_joins_the_link) {
  AgentDirectory agents;
  EXPECT_TRUE(agents.join(one, hello(1, 1, 0), {10, 0}, many).evicted.empty());
  EXPECT_TRUE(agents.join(one, hello(1, 1, 1), {11, 1}, many).evicted.empty());
  EXPECT_EQ(agents.links(), 1U);
}

TEST(AgentDirectory, the_same_slot_replaces_one_tunnel) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0}, many);
  (void)agents.join(one, hello(1, 1, 1), {11, 0}, many);
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 0), {12, 0}, many).evicted), (Ids{10}));
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 0), {13, 0}, many).evicted), (Ids{12})) << "the new tunnel is listed now";
}

TEST(AgentDirectory, a_higher_epoch_replaces_the_whole_link) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0}, many);
  (void)agents.join(one, hello(1, 1, 1), {11, 0}, many);
  EXPECT_EQ(ids(agents.join(one, hello(1, 2, 7), {12, 0}, many).evicted), (Ids{10, 11}));
  EXPECT_TRUE(agents.join(one, hello(1, 2, 8), {13, 0}, many).evicted.empty());
}

TEST(AgentDirectory, a_lower_epoch_is_refused_and_changes_nothing) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 2, 0), {10, 0}, many);
  const auto late = agents.join(one, hello(1, 1, 0), {11, 0}, many);
  EXPECT_TRUE(late.stale);
  EXPECT_TRUE(late.evicted.empty());
  EXPECT_EQ(ids(agents.join(one, hello(1, 2, 0), {12, 0}, many).evicted), (Ids{10}));
}

TEST(AgentDirectory, another_instance_of_an_identity_is_a_link_of_its_own) {
  AgentDirectory agents;
  EXPECT_FALSE(agents.join(one, hello(1, 5, 0), {10, 0}, many).second_instance);
  const auto second = agents.join(one, hello(2, 1, 0), {11, 0}, many);
  EXPECT_TRUE(second.second_instance);
  EXPECT_FALSE(second.stale);
  EXPECT_TRUE(second.evicted.empty());
  EXPECT_EQ(agents.links(), 2U);
}

TEST(AgentDirectory, the_same_instance_number_of_another_identity_is_another_link) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0}, many);
  const auto other = agents.join(two, hello(1, 9, 0), {11, 0}, many);
  EXPECT_TRUE(other.evicted.empty());
  EXPECT_FALSE(other.second_instance);
}

TEST(AgentDirectory, a_link_ends_with_its_last_tunnel) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 2, 0), {10, 0}, many);
  (void)agents.join(one, hello(1, 2, 1), {11, 0}, many);
  agents.leave(10);
  EXPECT_EQ(agents.links(), 1U);
  agents.leave(11);
  agents.leave(11);
  EXPECT_EQ(agents.links(), 0U);
  EXPECT_FALSE(agents.join(one, hello(1, 1, 0), {12, 0}, many).stale);
}

TEST(AgentDirectory, an_evicted_tunnel_that_closes_late_removes_no_other) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0}, many);
  (void)agents.join(one, hello(1, 1, 0), {11, 0}, many);
  agents.leave(10);
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 0), {12, 0}, many).evicted), (Ids{11}));
}

TEST(AgentDirectory, beyond_the_limit_of_an_agent_the_tunnels_of_its_oldest_process_go_first) {
  AgentDirectory agents;
  const auto join = [&](unsigned char instance, std::uint32_t slot, std::uint64_t id) {
    const auto joined = agents.join(one, hello(instance, 1, slot), {id, 0}, 4);
    EXPECT_TRUE(joined.evicted.empty());
    return ids(joined.surplus);
  };
  (void)agents.join(two, hello(1, 1, 0), {9, 0}, 4);
  EXPECT_EQ(join(7, 0, 10), Ids{});
  EXPECT_EQ(join(7, 1, 11), Ids{});
  EXPECT_EQ(join(3, 0, 12), Ids{});
  EXPECT_EQ(join(3, 1, 13), Ids{});
  EXPECT_EQ(join(5, 0, 14), Ids{10}) << "of the first process, its first tunnel";
  EXPECT_EQ(join(3, 2, 15), Ids{11});
  EXPECT_EQ(join(7, 2, 16), Ids{12}) << "it has joined anew: now it is the last";
  EXPECT_EQ(agents.links(), 4U);
  agents.leave(12);
  EXPECT_EQ(join(7, 3, 17), Ids{13}) << "one that is closed has left already";
}

TEST(AgentDirectory, a_single_process_loses_its_own_oldest_tunnel) {
  AgentDirectory agents;
  for (std::uint32_t slot = 0; slot < 3; ++slot)
    EXPECT_TRUE(agents.join(one, hello(1, 1, slot), {10 + slot, 0}, 3).surplus.empty());
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 3), {13, 0}, 3).surplus), (Ids{10}));
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 4), {14, 0}, 1).surplus), (Ids{11, 12, 13})) << "a lower limit";
}

TEST(AgentDirectory, the_tunnel_that_joins_stays_also_in_the_oldest_process) {
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0}, 2);
  (void)agents.join(one, hello(2, 1, 0), {11, 0}, 2);
  EXPECT_EQ(ids(agents.join(one, hello(1, 1, 1), {12, 0}, 1).surplus), (Ids{10, 11}));
}

TEST(AgentDirectory, all_tunnels_of_a_link_share_its_quota) {
  AgentDirectory agents;
  const auto first = agents.join(one, hello(1, 1, 0), {10, 0}, many);
  const auto second = agents.join(one, hello(1, 1, 1), {11, 0}, many);
  const auto other = agents.join(one, hello(2, 1, 0), {12, 0}, many);
  EXPECT_EQ(first.quota.streams, second.quota.streams);
  EXPECT_NE(first.quota.streams, other.quota.streams);
}

/// Threats E5: streams of a tunnel whose certificate has ended go on while the same process has shown a later one.
TEST(AgentDirectory, knows_whether_a_link_has_proved_a_valid_certificate) {
  const std::chrono::sys_seconds end(std::chrono::seconds(1'000));
  AgentDirectory agents;
  (void)agents.join(one, hello(1, 1, 0), {10, 0}, many, {"a//n", "1", end});
  (void)agents.join(one, hello(2, 1, 0), {20, 0}, many, {"a//n", "2", end + std::chrono::hours(1)});
  EXPECT_TRUE(agents.has_valid_certificate(10, end - std::chrono::seconds(1)));
  EXPECT_FALSE(agents.has_valid_certificate(10, end)) << "the other link is another process";
  (void)agents.join(one, hello(1, 1, 1), {11, 0}, many, {"a//n", "3", end + std::chrono::hours(1)});
  EXPECT_TRUE(agents.has_valid_certificate(10, end));
  EXPECT_FALSE(agents.has_valid_certificate(99, end)) << "an unknown tunnel";
  ASSERT_EQ(agents.connected().size(), 2U);
  EXPECT_EQ(agents.connected()[0].serial, "3");
}

}  // namespace
}  // namespace culvert::server
