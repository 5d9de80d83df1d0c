// SPDX-License-Identifier: Apache-2.0
#include "common/net/outside.hpp"

#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <netinet/in.h>

namespace culvert {
namespace {

bool outside(const char* address) {
  return is_outside(boost::asio::ip::make_address(address));
}

TEST(Outside, is_whatever_belongs_to_another_host) {
  for (const char* address : {"10.99.98.97", "192.0.2.1", "8.8.8.8", "169.253.0.1", "2001:db8::1", "fd00:ec2::253",
                              "::ffff:192.0.2.1", "::192.0.2.1"})
    EXPECT_TRUE(outside(address)) << address;
}

TEST(Outside, is_not_this_host_its_link_or_a_group) {
  for (const char* address : {"127.0.0.1", "127.255.1.2", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1",
                              "255.255.255.255", "::", "::1", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:127.0.0.1",
                              "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0.0.0.0"})
    EXPECT_FALSE(outside(address)) << address;
}

TEST(Outside, is_not_an_address_of_an_interface) {
  ifaddrs* first = nullptr;
  ASSERT_EQ(::getifaddrs(&first), 0);
  int seen = 0;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    const auto address =
        boost::asio::ip::make_address_v4(ntohl(reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr.s_addr));
    EXPECT_FALSE(is_outside(address)) << address;
    ++seen;
  }
  ::freeifaddrs(first);
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace culvert
