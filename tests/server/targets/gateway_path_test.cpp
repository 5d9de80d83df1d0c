// SPDX-License-Identifier: Apache-2.0
#include "server/targets/gateway_path.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

TEST(GatewayPath, names_are_normalised) {
  struct Row {
    std::string_view display_name;
    std::string_view name;
  };
  for (const auto& [display_name, name] :
       {Row{"Orders API", "orders-api"}, Row{"orders", "orders"}, Row{"ORDERS_2", "orders-2"}, Row{"a  -_- b", "a-b"},
        Row{" (Orders) ", "orders"}, Row{"---a---", "a"}, Row{"Prei\xc3\x9f", "prei"},
        Row{"B\xc3\xbcro \xe2\x82\xac 7", "b-ro-7"}, Row{"a\xff\x80z", "a-z"}, Row{std::string_view("a\0b", 3), "a-b"},
        Row{"@[`{/:", ""}, Row{"", ""}})
    EXPECT_EQ(normal_name(display_name), name) << display_name;
}

TEST(GatewayPath, is_split_byte_for_byte) {
  struct Row {
    std::string_view path;
    GatewayPort port;
    GatewayPath split;
  };
  using enum GatewayPort;
  for (const auto& [path, port, split] :
       {Row{"/a/b", services, {"a", "b", "", ""}}, Row{"/a/b/", services, {"a", "b", "", "/"}},
        Row{"/a/b/c", services, {"a", "b", "", "/c"}}, Row{"/a/b/c/", services, {"a", "b", "", "/c/"}},
        Row{"/a/b//c//", services, {"a", "b", "", "//c//"}},
        Row{"/a/b/x:y/z;p=1", services, {"a", "b", "", "/x:y/z;p=1"}},
        Row{"/A%2fb/c/%2F", services, {"A%2fb", "c", "", "/%2F"}}, Row{"/a/b/c", entries, {"a", "b", "c", ""}},
        Row{"/a/b/c/", entries, {"a", "b", "c", "/"}}, Row{"/a/b/c/d/e/", entries, {"a", "b", "c", "/d/e/"}}}) {
    const auto found = split_gateway_path(path, port);
    ASSERT_TRUE(found) << path;
    EXPECT_EQ(*found, split) << path << ": " << found->rest;
  }
}

TEST(GatewayPath, needs_every_segment) {
  using enum GatewayPort;
  for (const char* path : {"", "/", "*", "//", "/a", "/a/", "//b", "//b/c", "/a//c", "a/b", "a/b/c"})
    EXPECT_FALSE(split_gateway_path(path, services)) << path;
  for (const char* path : {"", "/a/b", "/a/b/", "/a/b//d", "/a//c", "//b/c", "a/b/c"})
    EXPECT_FALSE(split_gateway_path(path, entries)) << path;
}

TEST(GatewayPath, is_joined_with_one_slash) {
  struct Row {
    std::string_view base;
    std::string_view rest;
    std::string_view path;
  };
  for (const auto& [base, rest, path] :
       {Row{"", "", "/"}, Row{"/", "", "/"}, Row{"", "/", "/"}, Row{"/", "/", "/"}, Row{"", "/x", "/x"},
        Row{"/", "/x", "/x"}, Row{"/api", "", "/api"}, Row{"/api/", "", "/api/"}, Row{"/api", "/", "/api/"},
        Row{"/api/", "/", "/api/"}, Row{"/api", "/v1/", "/api/v1/"}, Row{"/api/", "/v1", "/api/v1"},
        Row{"/api/", "//v1", "/api//v1"}, Row{"/api//", "/v1", "/api//v1"}, Row{"/api", "//", "/api//"}})
    EXPECT_EQ(join_path(base, rest), path) << base << " " << rest;
}

TEST(GatewayPath, queries_are_joined_in_order) {
  struct Row {
    std::string_view of_url;
    std::string_view of_request;
    std::string_view added;
    std::string_view query;
  };
  for (const auto& [of_url, of_request, added, query] :
       {Row{"", "", "", ""}, Row{"?", "?", "?", ""}, Row{"?a=1", "", "", "?a=1"}, Row{"a=1", "", "", "?a=1"},
        Row{"", "?b", "", "?b"}, Row{"", "", "c=3", "?c=3"}, Row{"?a=1", "?b=2", "c=3", "?a=1&b=2&c=3"},
        Row{"a=1", "?", "c=3", "?a=1&c=3"}, Row{"", "??", "", "??"}, Row{"", "?a&", "b", "?a&&b"}})
    EXPECT_EQ(join_query(of_url, of_request, added), query) << of_url << " " << of_request << " " << added;
}

}  // namespace
}  // namespace culvert::server
