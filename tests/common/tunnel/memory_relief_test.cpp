// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/memory_relief.hpp"

#include <gtest/gtest.h>

namespace culvert {
namespace {

using namespace std::chrono_literals;

TEST(MemoryRelief, resets_the_largest_streams_that_do_not_drain_and_no_more_than_needed) {
  struct Case {
    const char* name;
    std::vector<WaitingStream> streams;
    std::uint64_t needed_bytes;
    std::vector<std::size_t> reset;
  };
  const std::vector<Case> cases{
      {"no stream waits", {}, 100, {}},
      {"nothing is needed", {{100, 5s}}, 0, {}},
      {"one is enough", {{10, 5s}, {100, 5s}, {50, 5s}}, 100, {1}},
      {"one is not enough", {{10, 5s}, {100, 5s}, {50, 5s}}, 101, {1, 2}},
      {"none that drains, however large", {{1'000, 4999ms}, {10, 5s}, {20, 5s}}, 25, {2, 1}},
      {"all that do not drain are too few", {{1'000, 4999ms}, {10, 5s}}, 25, {1}},
  };
  for (const Case& each : cases) EXPECT_EQ(streams_to_reset(each.streams, each.needed_bytes), each.reset) << each.name;
}

}  // namespace
}  // namespace culvert
