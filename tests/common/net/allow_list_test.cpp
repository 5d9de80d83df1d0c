// SPDX-License-Identifier: Apache-2.0
#include "common/net/allow_list.hpp"

#include <string_view>

#include <gtest/gtest.h>

namespace culvert {
namespace {

using namespace std::string_view_literals;
using boost::asio::ip::make_address;

struct Row {
  std::string_view network;
  const char* source;
  bool allowed;
};

TEST(AllowList, allows_exactly_the_sources_of_its_networks) {
  for (const Row& row : {
           Row{"10.0.0.0/8", "10.255.255.255", true},
           Row{"10.0.0.0/8", "11.0.0.0", false},
           Row{"10.0.0.0/8", "9.255.255.255", false},
           Row{"192.0.2.128/25", "192.0.2.127", false},
           Row{"192.0.2.128/25", "192.0.2.128", true},
           Row{"192.0.2.7", "192.0.2.7", true},
           Row{"192.0.2.7", "192.0.2.6", false},
           Row{"0.0.0.0/0", "203.0.113.9", true},
           Row{"0.0.0.0/0", "2001:db8::1", false},
           Row{"::/0", "203.0.113.9", false},
           Row{"fd00::/8", "fdff::1", true},
           Row{"fd00::/8", "fe00::1", false},
           Row{"::1", "::1", true},
           Row{"10.0.0.0/8", "::ffff:10.1.2.3", true},
           Row{"10.0.0.0/8", "::ffff:11.1.2.3", false},
           Row{"::ffff:10.0.0.0/104", "10.1.2.3", true},
           Row{"::ffff:10.0.0.0/104", "11.1.2.3", false},
           Row{"::ffff:10.1.2.3", "10.1.2.3", true},
           Row{"::ffff:a01:203", "::ffff:10.1.2.3", true},
           Row{"::ffff:10.1.2.3", "10.1.2.4", false},
           Row{"10.0.0.0/8", "127.0.0.1", false},
           Row{"fe80::/10", "fe80::1%1", true},
       }) {
    SCOPED_TRACE(std::string(row.network) + " " + row.source);
    AllowList list;
    ASSERT_TRUE(list.add(row.network));
    EXPECT_EQ(list.allows(make_address(row.source)), row.allowed);
  }
}

TEST(AllowList, allows_what_any_of_its_networks_holds) {
  AllowList list;
  ASSERT_TRUE(list.add("10.0.0.0/8"));
  ASSERT_TRUE(list.add("fd00::/8"));
  EXPECT_TRUE(list.allows(make_address("10.1.1.1")));
  EXPECT_TRUE(list.allows(make_address("fd00::1")));
  EXPECT_FALSE(list.allows(make_address("192.0.2.1")));
}

TEST(AllowList, allows_loopback_alone_while_it_is_empty) {
  const AllowList list;
  for (const char* source : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"})
    EXPECT_TRUE(list.allows(make_address(source))) << source;
  for (const char* source : {"10.0.0.1", "::2", "::ffff:10.0.0.1", "0.0.0.0"})
    EXPECT_FALSE(list.allows(make_address(source))) << source;
}

TEST(AllowList, refuses_what_is_not_a_network) {
  for (const auto text : {""sv,
                          "/8"sv,
                          "10.0.0.0/"sv,
                          "10.0.0.0/33"sv,
                          "10.0.0.0/-1"sv,
                          "10.0.0.0/8 "sv,
                          " 10.0.0.0/8"sv,
                          "10.0.0.0/8/8"sv,
                          "10.0.0.1/8"sv,
                          "10/8"sv,
                          "10.0.0.0/+8"sv,
                          "fd00::1/8"sv,
                          "fd00::/129"sv,
                          "fe80::1%eth0"sv,
                          "[::1]"sv,
                          "::ffff:10.0.0.0/95"sv,
                          "::ffff:10.0.0.1/104"sv,
                          "::ffff:10.0.0.0/129"sv,
                          "erp"sv,
                          "*"sv,
                          "10.0.0.0/08x"sv,
                          "10.0.0.0\0/8"sv}) {
    AllowList list;
    const auto added = list.add(text);
    ASSERT_FALSE(added) << text;
    EXPECT_EQ(added.error().code, "allow_from.malformed");
    EXPECT_TRUE(list.empty());
  }
}

}  // namespace
}  // namespace culvert
