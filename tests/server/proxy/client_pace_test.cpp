// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/client_pace.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using std::chrono::seconds;

/// Returns the second in which a body of `bytes_per_second` is found too slow; 0 if it is not within a minute.
int given_up_after(std::size_t bytes_per_second, bool waits) {
  BodyPace pace;
  for (int second = 0; second <= 60; ++second) {
    if (pace.is_too_slow(waits, seconds(1000 + second))) return second;
    pace.note_received(bytes_per_second);
  }
  return 0;
}

TEST(BodyPace, ends_a_body_of_less_than_256_bytes_per_second_for_ten_seconds) {
  EXPECT_EQ(given_up_after(0, true), 10);
  EXPECT_EQ(given_up_after(255, true), 10);
  EXPECT_EQ(given_up_after(256, true), 0);
  EXPECT_EQ(given_up_after(0, false), 0) << "the proxy does not wait for it";
}

TEST(BodyPace, does_not_count_bytes_that_arrived_fast_before) {
  BodyPace pace;
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1000)));
  pace.note_received(1 << 30);
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1001)));
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1010)));
  EXPECT_TRUE(pace.is_too_slow(true, seconds(1011)));
}

TEST(BodyPace, starts_again_when_others_delayed_the_body) {
  BodyPace pace;
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1000)));
  EXPECT_FALSE(pace.is_too_slow(false, seconds(1009)));
  EXPECT_FALSE(pace.is_too_slow(true, seconds(1018)));
  EXPECT_TRUE(pace.is_too_slow(true, seconds(1019)));
}

TEST(ReadingPace, counts_from_the_last_acknowledged_byte_while_some_wait) {
  ReadingPace pace;
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
