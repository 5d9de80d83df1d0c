// SPDX-License-Identifier: Apache-2.0
#include "common/net/endpoint.hpp"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace culvert {
namespace {

using namespace std::string_view_literals;

struct Good {
  std::string_view text;
  std::string_view host;
  std::uint16_t port;
  std::string_view printed;
};

TEST(Endpoint, is_read_and_printed_in_its_canonical_form) {
  for (const Good& row : {
           Good{"erp:443", "erp", 443, "erp:443"},
           Good{"ERP.Example.COM.:1", "erp.example.com", 1, "erp.example.com:1"},
           Good{"my_host-1:65535", "my_host-1", 65535, "my_host-1:65535"},
           Good{"1.2.3.4:80", "1.2.3.4", 80, "1.2.3.4:80"},
           Good{"[::1]:80", "::1", 80, "[::1]:80"},
           Good{"[FD00:0:0::00A]:80", "fd00::a", 80, "[fd00::a]:80"},
           Good{"[::ffff:1.2.3.4]:80", "1.2.3.4", 80, "1.2.3.4:80"},
           Good{"[::FFFF:102:304]:80", "1.2.3.4", 80, "1.2.3.4:80"},
           Good{"[0:0:0:0:0:ffff:0102:0304]:80", "1.2.3.4", 80, "1.2.3.4:80"},
           Good{"[::1.2.3.4]:80", "::1.2.3.4", 80, "[::1.2.3.4]:80"},
           Good{"[64:ff9b::1.2.3.4]:80", "64:ff9b::102:304", 80, "[64:ff9b::102:304]:80"},
           Good{"[2001:DB8:0:0:1::1]:80", "2001:db8::1:0:0:1", 80, "[2001:db8::1:0:0:1]:80"},
           Good{"3com.com:80", "3com.com", 80, "3com.com:80"},
       }) {
    SCOPED_TRACE(row.text);
    const auto endpoint = parse_endpoint(row.text);
    ASSERT_TRUE(endpoint) << endpoint.error().text;
    EXPECT_EQ(endpoint->host, row.host);
    EXPECT_EQ(endpoint->port, row.port);
    EXPECT_EQ(to_string(*endpoint), row.printed);
  }
}

TEST(Endpoint, refuses_what_is_not_exactly_a_host_and_a_port) {
  const std::string long_label(64, 'a');
  const std::string long_name =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(62, 'd');
  for (const std::string& text : {
           std::string(""),
           std::string(":"),
           std::string(":80"),
           std::string("erp"),
           std::string("erp:"),
           std::string("erp:0"),
           std::string("erp:65536"),
           std::string("erp:080"),
           std::string("erp:+80"),
           std::string("erp:-1"),
           std::string("erp:80x"),
           std::string("erp:80/"),
           std::string("erp: 80"),
           std::string(" erp:80"),
           std::string("erp:80 "),
           std::string("erp :80"),
           std::string("e rp:80"),
           std::string("erp:80\n"),
           std::string("u@erp:80"),
           std::string("u:p@erp:80"),
           std::string("::1:80"),
           std::string("[::1]"),
           std::string("[::1]80"),
           std::string("[::1:80"),
           std::string("[]:80"),
           std::string("[1.2.3.4]:1"),
           std::string("[erp]:80"),
           std::string("[fe80::1%eth0]:80"),
           std::string("a..b:80"),
           std::string(".a:80"),
           std::string("a..:80"),
           std::string(".:80"),
           std::string("-a:80"),
           std::string("a-:80"),
           std::string("a*:80"),
           std::string("a/b:80"),
           std::string("127.1:1"),
           std::string("0x7f.1:1"),
           std::string("2130706433:1"),
           std::string("1.2.3.4.5:1"),
           std::string("127.0.0.01:1"),
           std::string("0x7f000001:1"),
           std::string("0X7F000001:1"),
           std::string("010.1.2.3:1"),
           std::string("0x0a010203:1"),
           std::string("10.258:1"),
           std::string("0x0a.1.2.3:1"),
           std::string("[::ffff:010.1.2.3]:1"),
           std::string("[::ffff:10.258]:1"),
           std::string("[::ffff:0x0a010203]:1"),
           std::string("1.2.3.4.:1"),
           std::string("é:80"),
           std::string("erp\0:80", 7),
           std::string("[::1\0]:80", 9),
           long_label + ":80",
           long_name + ":80",
           std::string("http://erp:80"),
       }) {
    SCOPED_TRACE(text);
    const auto endpoint = parse_endpoint(text);
    ASSERT_FALSE(endpoint);
    EXPECT_EQ(endpoint.error().code, "endpoint.malformed");
    EXPECT_FALSE(endpoint.error().text.empty());
  }
}

TEST(Endpoint, takes_names_of_the_greatest_length) {
  const std::string name =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(61, 'd');
  ASSERT_EQ(name.size(), 253u);
  EXPECT_TRUE(parse_endpoint(name + ":80"));
  EXPECT_TRUE(parse_endpoint(name + ".:80"));
}

TEST(Endpoint, takes_port_zero_only_where_it_is_asked_to) {
  EXPECT_FALSE(parse_endpoint("127.0.0.1:0"));
  EXPECT_TRUE(parse_endpoint("127.0.0.1:0", true));
}

TEST(Endpoint, never_repeats_a_password_in_its_error) {
  const auto endpoint = parse_endpoint("user:hunter2@erp:80");
  ASSERT_FALSE(endpoint);
  EXPECT_EQ(endpoint.error().text.find("hunter2"), std::string::npos);
}

TEST(Endpoint, knows_loopback_in_each_spelling) {
  for (const auto host : {"127.0.0.1"sv, "127.255.255.254"sv, "::1"sv, "localhost"sv, "::ffff:127.0.0.1"sv})
    EXPECT_TRUE(is_loopback(host)) << host;
  for (const auto host : {"128.0.0.1"sv, "126.255.255.255"sv, "0.0.0.0"sv, "::"sv, "::2"sv, "localhost.example"sv, ""sv,
                          "::ffff:10.0.0.1"sv})
    EXPECT_FALSE(is_loopback(host)) << host;
}

TEST(EndpointRange, is_one_port_or_a_range) {
  const auto one = parse_endpoint_range("Erp:443");
  ASSERT_TRUE(one);
  EXPECT_EQ(*one, (EndpointRange{"erp", {443, 443}}));
  EXPECT_EQ(to_string(*one), "erp:443");
  const auto many = parse_endpoint_range("[::1]:1-5");
  ASSERT_TRUE(many);
  EXPECT_EQ(*many, (EndpointRange{"::1", {1, 5}}));
  EXPECT_EQ(to_string(*many), "[::1]:1-5");
  EXPECT_TRUE(many->ports.contains(1) && many->ports.contains(5));
  EXPECT_FALSE(many->ports.contains(0) || many->ports.contains(6));
}

TEST(EndpointRange, refuses_ranges_that_are_none) {
  for (const auto text : {"erp:5-1"sv, "erp:0-5"sv, "erp:1-"sv, "erp:-5"sv, "erp:1-2-3"sv, "erp:1 - 2"sv,
                          "erp:1-65536"sv, "erp:-"sv, "erp"sv, "erp:0"sv})
    EXPECT_FALSE(parse_endpoint_range(text)) << text;
}

}  // namespace
}  // namespace culvert
