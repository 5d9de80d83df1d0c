// SPDX-License-Identifier: Apache-2.0
#include "common/base/backoff.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace culvert {
namespace {

using namespace std::chrono_literals;
using Milliseconds = std::chrono::milliseconds;

constexpr Backoff::TimePoint start = Backoff::TimePoint(1000h);

/// The largest chance, so that a delay is its ceiling.
constexpr double worst = 1;

TEST(Backoff, doubles_from_a_quarter_of_a_second_to_one_and_a_half_in_the_first_minute) {
  Backoff backoff;
  std::vector<Milliseconds> delays;
  for (int i = 0; i < 6; ++i) delays.push_back(backoff.next_delay(start + i * 1s, worst));
  EXPECT_EQ(delays, (std::vector<Milliseconds>{250ms, 500ms, 1000ms, 1500ms, 1500ms, 1500ms}));
  EXPECT_EQ(backoff.next_delay(start + 60s - 1ms, worst), 1500ms);
}

TEST(Backoff, goes_up_to_half_a_minute_after_the_first_minute) {
  Backoff backoff;
  for (int i = 0; i < 200; ++i) backoff.next_delay(start, worst);
  EXPECT_EQ(backoff.next_delay(start + 60s, worst), 30s);
}

TEST(Backoff, spreads_the_delay_evenly_between_nothing_and_the_ceiling) {
  Backoff backoff;
  EXPECT_EQ(backoff.next_delay(start, 0), 0ms);
  EXPECT_EQ(backoff.next_delay(start, 0.5), 250ms);  // Half of 0.25 s * 2^1.
}

TEST(Backoff, starts_anew_after_a_tunnel_that_stayed_up_for_half_a_minute) {
  Backoff backoff;
  for (int i = 0; i < 10; ++i) backoff.next_delay(start, worst);
  backoff.up(start + 100s);
  EXPECT_EQ(backoff.next_delay(start + 130s, worst), 250ms);
}

TEST(Backoff, does_not_start_anew_after_a_tunnel_that_was_up_for_less) {
  Backoff backoff;
  for (int i = 0; i < 10; ++i) backoff.next_delay(start, worst);
  backoff.up(start + 100s);
  EXPECT_EQ(backoff.next_delay(start + 130s - 1ms, worst), 30s);
}

TEST(Backoff, delays_the_successor_of_a_tunnel_that_was_not_up_for_half_a_minute) {
  Backoff backoff;
  backoff.up(start);
  EXPECT_EQ(backoff.delay_of_successor(start + 30s - 1ms, worst), 250ms);
  backoff.up(start + 31s);
  EXPECT_EQ(backoff.delay_of_successor(start + 32s, worst), 500ms);
  backoff.up(start + 33s);
  EXPECT_EQ(backoff.delay_of_successor(start + 63s, worst), 0ms);
  EXPECT_EQ(backoff.next_delay(start + 64s, worst), 250ms) << "the outage has ended";
}

TEST(Backoff, counts_one_up_time_once) {
  Backoff backoff;
  backoff.up(start);
  EXPECT_EQ(backoff.next_delay(start + 40s, worst), 250ms);
  EXPECT_EQ(backoff.next_delay(start + 41s, worst), 500ms);
}

}  // namespace
}  // namespace culvert
