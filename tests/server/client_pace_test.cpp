// SPDX-License-Identifier: Apache-2.0
#include "server/client_pace.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using std::chrono::seconds;

/// The second in which a body that brings `bytes_per_second` is given up on; none within a minute: 0.
int given_up_after(std::size_t bytes_per_second, bool waits) {
  BodyPace pace;
  for (int second = 0; second <= 60; ++second) {
    if (pace.is_too_slow(waits, seconds(1000 + second))) return second;
    pace.came(bytes_per_second);
  }
  return 0;
}

TEST(BodyPace, ends_a_body_that_brings_less_than_256_bytes_per_second_for_ten_seconds) {
  EXPECT_EQ(given_up_after(0, true), 10);
  EXPECT_EQ(given_up_after(255, true), 10);
  EXPECT_EQ(given_up_after(256, true), 0);
  EXPECT_EQ(given_up_after(0, false), 0) << "nobody waits for it";
}

TEST(BodyPace, forgives_nothing_for_what_came_fast_before) {
  BodyPace pace;
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1000)));
  pace.came(1 << 30);
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1001)));
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1010)));
  EXPECT_TRUE(pace.is_too_slow(true, seconds(1011)));
}

TEST(BodyPace, begins_anew_when_the_way_was_blocked_by_others) {
  BodyPace pace;
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1000)));
  EXPECT_FALSE(pace.is_too_slow(false, seconds(1009)));
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1018)));
  EXPECT_TRUE(pace.is_too_slow(true, seconds(1019)));
}

TEST(TakingPace, counts_from_the_last_byte_that_was_taken_while_some_wait) {
  TakingPace pace;
  EXPECT_FALSE(pace.is_stalled(false, 0, seconds(1000)));
  EXPECT_FALSE(pace.is_stalled(false, 0, seconds(2000))) << "nothing waits";
  EXPECT_FALSE(pace.is_stalled(true, 5000, seconds(2001)));
  EXPECT_FALSE(pace.is_stalled(true, 5001, seconds(2060)));
  EXPECT_FALSE(pace.is_stalled(true, 5001, seconds(2119)));
  EXPECT_TRUE(pace.is_stalled(true, 5001, seconds(2120)));
  EXPECT_FALSE(pace.is_stalled(false, 0, seconds(2121)));
  EXPECT_FALSE(pace.is_stalled(true, 5001, seconds(2122))) << "another wait";
}

}  // namespace
}  // namespace culvert::server
