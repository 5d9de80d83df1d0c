// SPDX-License-Identifier: Apache-2.0
#include "common/net/address_rule.hpp"

#include <gtest/gtest.h>

namespace culvert {
namespace {

namespace ip = boost::asio::ip;

TEST(AddressRule, knows_what_is_not_of_the_internet) {
  for (const char* text : {"0.0.0.0",
                           "10.1.2.3",
                           "100.64.0.1",
                           "127.0.0.1",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.1.1",
                           "192.0.0.8",
                           "198.18.0.1",
                           "203.0.113.1",
                           "224.0.0.1",
                           "240.0.0.1",
                           "255.255.255.255",
                           "::",
                           "::1",
                           "::127.0.0.1",
                           "::ffff:127.0.0.1",
                           "::ffff:169.254.169.254",
                           "64:ff9b::10.0.0.1",
                           "64:ff9b::127.0.0.1",
                           "2002:7f00:1::",
                           "2002:c0a8:101::",
                           "2001:0:1::1",
                           "2001:db8::1",
                           "2001:10::1",
                           "fc00::1",
                           "fd00:ec2::254",
                           "fe80::1",
                           "ff02::1",
                           "100::1"})
    EXPECT_FALSE(is_public(ip::make_address(text))) << text;
  for (const char* text :
       {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
        "223.255.255.255", "2600::1", "2a00:1450::1", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1", "2002:101:101::"})
    EXPECT_TRUE(is_public(ip::make_address(text))) << text;
}

TEST(AddressRule, allows_networks_and_the_internet_only_if_it_says_so) {
  AddressRule rule;
  EXPECT_FALSE(rule.allows(ip::make_address("127.0.0.1"))) << "an empty list allows nothing";
  EXPECT_FALSE(rule.allows(ip::make_address("1.1.1.1")));
  rule.and_public = true;
  EXPECT_TRUE(rule.allows(ip::make_address("1.1.1.1")));
  ASSERT_TRUE(rule.networks.add("10.0.0.0/8"));
  EXPECT_TRUE(rule.allows(ip::make_address("10.1.2.3")));
  EXPECT_TRUE(rule.allows(ip::make_address("::ffff:10.1.2.3")));
  EXPECT_FALSE(rule.allows(ip::make_address("192.168.1.1")));
}

}  // namespace
}  // namespace culvert
