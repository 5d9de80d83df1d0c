// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/new_identity.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::sys_seconds begin{1'000'000s};

TEST(RenewalDue, is_at_two_thirds_of_the_life_give_or_take_a_tenth) {
  const auto end = begin + 1000s;
  EXPECT_EQ(renewal_due(begin, end, 0), begin + 767s);
  EXPECT_EQ(renewal_due(begin, end, 0.5), begin + 667s);
  EXPECT_EQ(renewal_due(begin, end, 0.999'999), begin + 567s);
  EXPECT_EQ(renewal_overdue(begin, end), begin + 750s);
}

/// Threats F11. As many as could be if they were spread evenly over the time in which they renew.
TEST(RenewalDue, a_thousand_that_joined_together_do_not_renew_together) {
  constexpr int agents = 1'000;
  const auto life = std::chrono::seconds(24h);
  std::vector<int> in_minute(24 * 60);
  for (int i = 0; i < agents; ++i) {
    const double chance = static_cast<double>((i * 619) % agents) / agents;
    const auto due = renewal_due(begin, begin + life, chance);
    ++in_minute.at(static_cast<std::size_t>((due - begin) / 1min));
  }
  const auto busy = std::ranges::count_if(in_minute, [](int renewals) { return renewals > 0; });
  EXPECT_GT(busy, 250);
  EXPECT_LE(*std::ranges::max_element(in_minute) * busy, 3 * agents) << "the peak is at most 3 times the mean";
}

TEST(NewIdentity, a_denial_is_an_error_with_its_reason) {
  auto asked = make_key_and_request(KeyKind::p256, "spiffe://test/account/a/agent/n");
  ASSERT_TRUE(asked);
  const auto identity = new_identity(protocol::Denied{protocol::Reason::token_used, false, "used"}, std::move(*asked),
                                     "spiffe://test/account/a/agent/n", begin);
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().code, "join.token_used");
}

}  // namespace
}  // namespace culvert::agent
