// SPDX-License-Identifier: Apache-2.0
#include "common/base/backoff.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace culvert {
namespace {

using namespace std::chrono_literals;
using Milliseconds = std::chrono::milliseconds;

constexpr Backoff::TimePoint start = Backoff::TimePoint(1000h);

/// Chance at its very top, so that a delay is its ceiling.
Backoff make_worst() {
  return Backoff([] { return 1.0; });
}

TEST(Backoff, doubles_from_a_quarter_of_a_second_to_one_and_a_half_in_the_first_minute) {
  Backoff backoff = make_worst();
  std::vector<Milliseconds> delays;
  for (int i = 0; i < 6; ++i) delays.push_back(backoff.next_delay(start + i * 1s));
  EXPECT_EQ(delays, (std::vector<Milliseconds>{250ms, 500ms, 1000ms, 1500ms, 1500ms, 1500ms}));
  EXPECT_EQ(backoff.next_delay(start + 60s - 1ms), 1500ms);
}

TEST(Backoff, goes_up_to_half_a_minute_after_the_first_minute) {
  Backoff backoff = make_worst();
  for (int i = 0; i < 200; ++i) backoff.next_delay(start);
  EXPECT_EQ(backoff.next_delay(start + 60s), 30s);
}

TEST(Backoff, spreads_the_delay_evenly_between_nothing_and_the_ceiling) {
  double chance = 0.0;
  Backoff backoff([&] { return chance; });
  EXPECT_EQ(backoff.next_delay(start), 0ms);
  chance = 0.5;
  EXPECT_EQ(backoff.next_delay(start), 250ms);  // Half of 0.25 s * 2^1.
}

TEST(Backoff, starts_anew_after_a_tunnel_that_stayed_up_for_half_a_minute) {
  Backoff backoff = make_worst();
  for (int i = 0; i < 10; ++i) backoff.next_delay(start);
  backoff.up(start + 100s);
  EXPECT_EQ(backoff.next_delay(start + 130s), 250ms);
}

TEST(Backoff, does_not_start_anew_after_a_tunnel_that_was_up_for_less) {
  Backoff backoff = make_worst();
  for (int i = 0; i < 10; ++i) backoff.next_delay(start);
  backoff.up(start + 100s);
  EXPECT_EQ(backoff.next_delay(start + 130s - 1ms), 30s);
}

TEST(Backoff, counts_one_up_time_once) {
  Backoff backoff = make_worst();
  backoff.up(start);
  EXPECT_EQ(backoff.next_delay(start + 40s), 250ms);
  EXPECT_EQ(backoff.next_delay(start + 41s), 500ms);
}

}  // namespace
}  // namespace culvert
