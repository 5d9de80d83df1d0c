// SPDX-License-Identifier: Apache-2.0
#include "common/admin/longest_silent.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace culvert {
namespace {

using Time = std::chrono::steady_clock::time_point;

ClientWait silent(const char* source, int since) {
  return {boost::asio::ip::make_address(source), Time(std::chrono::seconds(since))};
}
ClientWait answering(const char* source) {
  return {boost::asio::ip::make_address(source), std::nullopt};
}

struct Case {
  const char* name;
  std::vector<ClientWait> connections;
  std::optional<std::size_t> longest;
};

TEST(LongestSilent, is_of_the_network_with_most_silent_connections) {
  const std::vector<Case> cases{
      {"no connection", {}, std::nullopt},
      {"none is silent", {answering("10.0.0.1"), answering("10.0.0.2")}, std::nullopt},
      {"one source", {silent("10.0.0.1", 3), silent("10.0.0.1", 1), silent("10.0.0.1", 2)}, 1},
      {"few connections of another source, although older",
       {silent("10.0.0.1", 1), silent("10.0.0.2", 3), silent("10.0.0.2", 2)},
       2},
      {"connections that wait for us do not count",
       {answering("10.0.0.1"), answering("10.0.0.1"), silent("10.0.0.1", 3), silent("10.0.0.2", 2)},
       3},
      {"equally many: the longest silent", {silent("10.0.0.1", 2), silent("10.0.0.2", 1)}, 1},
      {"a /64 of IPv6 is one source",
       {silent("10.0.0.1", 1), silent("2001:db8::1", 3), silent("2001:db8::ffff:2", 2)},
       2},
  };
  for (const Case& each : cases) EXPECT_EQ(longest_silent(each.connections), each.longest) << each.name;
}

}  // namespace
}  // namespace culvert
