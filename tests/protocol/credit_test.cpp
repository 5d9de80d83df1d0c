// SPDX-License-Identifier: Apache-2.0
#include "protocol/credit.hpp"

#include <gtest/gtest.h>

namespace culvert::protocol {
namespace {

using std::chrono::milliseconds;
constexpr Time zero{0};

TEST(SendCredit, may_spend_all_of_its_limit_and_no_byte_more) {
  SendCredit credit(100);
  credit.spend(100);
  EXPECT_EQ(credit.available(), 0U);
  EXPECT_DEATH(credit.spend(1), "never sends beyond its credit");
}

TEST(SendCredit, ignores_a_stale_limit) {
  SendCredit credit(100);
  EXPECT_EQ(credit.raise_limit(100), SendCredit::Raise::stale);
  EXPECT_EQ(credit.raise_limit(0), SendCredit::Raise::stale);
  EXPECT_EQ(credit.available(), 100U);
}

TEST(SendCredit, takes_a_limit_of_16_MiB_beyond_what_was_sent_and_refuses_one_more) {
  SendCredit credit(100);
  credit.spend(100);
  EXPECT_EQ(credit.raise_limit(100 + window_bytes_max + 1).error(), Reason::flow_control);
  EXPECT_EQ(credit.raise_limit(UINT64_MAX).error(), Reason::flow_control);
  EXPECT_EQ(credit.available(), 0U);
  EXPECT_EQ(credit.raise_limit(100 + window_bytes_max), SendCredit::Raise::raised);
  EXPECT_EQ(credit.available(), window_bytes_max);
}

TEST(ReceiveCredit, admits_its_window_and_refuses_one_byte_more) {
  ReceiveCredit credit(1'000, zero);
  EXPECT_EQ(credit.receive(1'000), std::nullopt);
  EXPECT_EQ(credit.receive(0), std::nullopt);
  EXPECT_EQ(credit.receive(1), Reason::flow_control);
  EXPECT_EQ(ReceiveCredit(1'000, zero).receive(1'001), Reason::flow_control);
}

TEST(ReceiveCredit, is_due_for_a_raise_when_a_quarter_of_the_window_is_free_again) {
  ReceiveCredit credit(1'000, zero);
  (void)credit.receive(1'000);
  EXPECT_FALSE(credit.take(249));
  EXPECT_TRUE(credit.take(1));
  EXPECT_EQ(credit.announce(), 1'250U);
  EXPECT_FALSE(credit.take(1));
  EXPECT_EQ(credit.waiting(), 749U);
}

TEST(ReceiveCredit, takes_no_more_than_was_received) {
  ReceiveCredit credit(1'000, zero);
  (void)credit.receive(10);
  EXPECT_DEATH((void)credit.take(11), "takes only what it received");
}

/// Drains one whole window within `elapsed`.
bool wants_growth_after(std::uint64_t window, Time elapsed, std::optional<Time> round_trip) {
  ReceiveCredit credit(window, zero);
  (void)credit.receive(window);
  (void)credit.take(window);
  return credit.wants_growth(elapsed, round_trip);
}

TEST(ReceiveCredit, wants_growth_when_a_window_was_drained_within_two_round_trips) {
  EXPECT_TRUE(wants_growth_after(window_bytes_start, milliseconds(200), milliseconds(100)));
  EXPECT_FALSE(wants_growth_after(window_bytes_start, milliseconds(201), milliseconds(100)));
  EXPECT_FALSE(wants_growth_after(window_bytes_start, milliseconds(1), std::nullopt));
}

TEST(ReceiveCredit, wants_no_growth_beyond_4_MiB_for_a_near_peer_and_16_MiB_for_a_far_one) {
  const Time near = milliseconds(5);
  const Time far = milliseconds(17);
  EXPECT_TRUE(wants_growth_after(window_bytes_near_max - 1, near, near));
  EXPECT_FALSE(wants_growth_after(window_bytes_near_max, near, near));
  EXPECT_TRUE(wants_growth_after(window_bytes_near_max, near, far));
  EXPECT_TRUE(wants_growth_after(window_bytes_max - 1, near, far));
  EXPECT_FALSE(wants_growth_after(window_bytes_max, near, far));
}

TEST(ReceiveCredit, wants_no_more_than_a_round_trip_can_hold) {
  const Time loopback{200};
  EXPECT_FALSE(wants_growth_after(window_bytes_start, loopback, loopback));
  EXPECT_TRUE(wants_growth_after(window_bytes_start, Time(263), Time(263)));
  EXPECT_FALSE(wants_growth_after(2 * window_bytes_start, Time(263), Time(263)));
}

TEST(ReceiveCredit, a_grown_window_is_announced_at_the_next_take) {
  ReceiveCredit credit(1'000, zero);
  (void)credit.receive(1'000);
  credit.grow(1'000);
  EXPECT_TRUE(credit.take(1));
  EXPECT_EQ(credit.announce(), 2'001U);
  EXPECT_EQ(credit.receive(1'001), std::nullopt);
  EXPECT_EQ(credit.receive(1), Reason::flow_control);
}

}  // namespace
}  // namespace culvert::protocol
