// SPDX-License-Identifier: Apache-2.0
#include "common/base/memory_budget.hpp"

#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace culvert {
namespace {

constexpr std::uint64_t mib = 1 << 20;

TEST(MemoryBudget, gives_all_or_nothing) {
  MemoryBudget budget(10);
  EXPECT_FALSE(budget.take(11));
  EXPECT_EQ(budget.left(), 10);
  EXPECT_TRUE(budget.take(10));
  EXPECT_FALSE(budget.take(1));
  budget.give(10);
  EXPECT_EQ(budget.left(), 10);
}

TEST(MemoryBudget, is_short_below_a_quarter_and_exhausted_below_a_tenth) {
  MemoryBudget budget(100);
  (void)budget.take(75);
  EXPECT_FALSE(budget.is_short());
  (void)budget.take(1);
  EXPECT_TRUE(budget.is_short());
  (void)budget.take(14);
  EXPECT_FALSE(budget.is_exhausted());
  (void)budget.take(1);
  EXPECT_TRUE(budget.is_exhausted());
}

TEST(MemoryBudget, wants_a_tenth_back_once_less_than_a_twentieth_is_left) {
  MemoryBudget budget(1'000, 2);
  (void)budget.take(950);
  EXPECT_EQ(budget.bytes_to_free(), 0U);
  budget.charge(2);
  EXPECT_EQ(budget.bytes_to_free(), 26U) << "each of two users frees half of it";
  budget.charge(100);
  EXPECT_EQ(budget.bytes_to_free(), 76U) << "more was charged than there was";
}

TEST(MemoryHolder, with_less_than_an_equal_share_has_the_last_tenth) {
  MemoryBudget budget(100);
  MemoryHolder small(budget);
  MemoryHolder large(budget);
  (void)budget.take(90);
  large.add(80);
  small.add(10);
  EXPECT_FALSE(large.is_exhausted());
  (void)budget.take(1);
  large.add(1);
  EXPECT_TRUE(large.is_exhausted());
  EXPECT_FALSE(small.is_exhausted());
  (void)budget.take(9);
  EXPECT_TRUE(small.is_exhausted()) << "nothing is left";
}

TEST(MemoryHolder, alone_is_refused_at_nine_tenths) {
  MemoryBudget budget(100);
  MemoryHolder only(budget);
  (void)budget.take(91);
  only.add(91);
  EXPECT_TRUE(only.is_exhausted());
  const MemoryHolder another(budget);
  EXPECT_TRUE(only.is_exhausted());
  EXPECT_FALSE(another.is_exhausted());
}

TEST(MemoryBudget, resizes_under_what_is_granted) {
  MemoryBudget budget(100);
  (void)budget.take(60);
  budget.resize(50);
  EXPECT_EQ(budget.left(), -10);
  EXPECT_FALSE(budget.take(1));
  budget.resize(200);
  EXPECT_EQ(budget.left(), 140);
  budget.give(60);
  EXPECT_EQ(budget.left(), 200);
}

TEST(MemoryLease, takes_the_last_byte_though_no_block_is_left) {
  MemoryBudget budget(1'000);
  MemoryLease lease(budget);
  EXPECT_TRUE(lease.take(600));
  EXPECT_TRUE(lease.take(400));
  EXPECT_FALSE(lease.take(1));
  lease.give(1);
  EXPECT_TRUE(lease.take(1));
}

TEST(MemoryLease, charges_what_is_not_there) {
  MemoryBudget budget(100);
  {
    MemoryLease lease(budget);
    lease.charge(300);
    EXPECT_EQ(budget.left(), -200);
    lease.give(300);
  }
  EXPECT_EQ(budget.left(), 100);
}

TEST(MemoryLease, keeps_a_block_and_returns_the_rest) {
  MemoryBudget budget(100 * mib);
  MemoryLease lease(budget);
  ASSERT_TRUE(lease.take(50 * mib));
  lease.give(50 * mib);
  EXPECT_EQ(lease.held(), budget.block_bytes());
  EXPECT_EQ(budget.left(), static_cast<std::int64_t>(100 * mib) - budget.block_bytes());
}

TEST(MemoryLease, of_idle_workers_does_not_make_the_budget_look_used_up) {
  constexpr std::size_t workers = 64;
  MemoryBudget budget(512 * mib, workers);
  std::vector<std::unique_ptr<MemoryLease>> leases;
  for (std::size_t i = 0; i < workers; ++i) {
    leases.push_back(std::make_unique<MemoryLease>(budget));
    for (int stream = 0; stream < 20; ++stream) ASSERT_TRUE(leases.back()->take(256 << 10));
    for (int stream = 0; stream < 20; ++stream) leases.back()->give(256 << 10);
  }
  EXPECT_FALSE(budget.is_short());
  EXPECT_GE(budget.left(), static_cast<std::int64_t>(480 * mib));
}

TEST(MemoryLease, of_many_workers_never_takes_more_than_there_is) {
  constexpr std::uint64_t total = 64 * mib;
  MemoryBudget budget(total);
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&budget] {
      MemoryLease lease(budget);
      for (int round = 0; round < 1'000; ++round) {
        const std::uint64_t bytes = 1 * mib + static_cast<std::uint64_t>(round) * 1'000;
        if (lease.take(bytes)) lease.give(bytes);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(budget.left(), static_cast<std::int64_t>(total));
}

}  // namespace
}  // namespace culvert
