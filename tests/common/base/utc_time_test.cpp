// SPDX-License-Identifier: Apache-2.0
#include "common/base/utc_time.hpp"

#include <gtest/gtest.h>

namespace culvert {
namespace {

using namespace std::chrono_literals;

TEST(UtcTime, is_written_and_read) {
  const auto time = std::chrono::sys_seconds(std::chrono::sys_days(2026y / 5 / 1)) + 25h + 61s;
  EXPECT_EQ(utc_text(time), "2026-05-02T01:01:01Z");
  EXPECT_EQ(read_utc("2026-05-02T01:01:01Z"), time);
  for (const char* bad : {"", "2026-05-02", "2026-05-02T01:01:01", "2026-05-02T01:01:01+00:00", "2026-13-02T01:01:01Z",
                          "2026-02-30T01:01:01Z", "2026-05-02T24:01:01Z", "2026-05-02T01:60:01Z",
                          "2026-05-02 01:01:01Z", "2026-05-02T01:01:0aZ"})
    EXPECT_FALSE(read_utc(bad)) << bad;
}

}  // namespace
}  // namespace culvert
