// SPDX-License-Identifier: Apache-2.0
#include "common/base/fair_quota.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace culvert {
namespace {

/// Takes until nothing is given any more, and returns how many were.
std::uint64_t fill(FairShares& shares, const std::string& holder) {
  std::uint64_t count = 0;
  while (shares.take(holder)) ++count;
  return count;
}

TEST(FairShares, leave_a_quarter_to_those_who_come_later) {
  FairShares shares(100);
  EXPECT_EQ(fill(shares, "a"), 75U);
  EXPECT_EQ(fill(shares, "b"), 25U);
  EXPECT_EQ(shares.taken(), 100U);
  EXPECT_FALSE(shares.take("c"));
}

TEST(FairShares, a_holder_takes_the_last_quarter_up_to_an_equal_share) {
  FairShares shares(100);
  EXPECT_EQ(fill(shares, "a"), 75U);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(shares.take("b"));
  EXPECT_EQ(fill(shares, "c"), 15U);
  shares.give("c");
  EXPECT_TRUE(shares.take("d")) << "it has none yet";
  FairShares many(1'000);
  for (const char* holder : {"a", "b", "c"}) {
    for (int i = 0; i < 250; ++i) EXPECT_TRUE(many.take(holder));
  }
  EXPECT_EQ(fill(many, "d"), 188U) << "a fifth of all";
  EXPECT_EQ(fill(many, "e"), 62U) << "what is left";
}

TEST(FairShares, what_is_given_back_may_be_taken_again) {
  FairShares shares(8);
  EXPECT_EQ(fill(shares, "a"), 6U);
  shares.give("a");
  EXPECT_TRUE(shares.take("a"));
  EXPECT_FALSE(shares.take("a"));
  for (int i = 0; i < 10; ++i) shares.give("a");
  EXPECT_EQ(shares.taken(), 0U);
  EXPECT_EQ(fill(shares, "b"), 6U) << "a is no holder any more";
}

TEST(FairQuota, is_given_back_with_the_permit) {
  const auto quota = std::make_shared<FairQuota>(2);
  SharePermit first = FairQuota::take(quota, "a");
  EXPECT_TRUE(first);
  const SharePermit second = FairQuota::take(quota, "a");
  EXPECT_TRUE(second);
  EXPECT_FALSE(FairQuota::take(quota, "a"));
  first.reset();
  EXPECT_TRUE(FairQuota::take(quota, "a"));
}

}  // namespace
}  // namespace culvert
