// SPDX-License-Identifier: Apache-2.0
#include "agent/http_rules.hpp"

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

http::RequestHead request(std::string method, std::string path, std::string upgrade = {}) {
  http::RequestHead head;
  head.method = std::move(method);
  head.path = std::move(path);
  head.upgrade = std::move(upgrade);
  return head;
}

bool allows(const Resource& resource, const http::RequestHead& head,
            http::EncodedSlash slash = http::EncodedSlash::refuse) {
  return is_allowed({resource}, head, slash);
}

TEST(HttpRules, nothing_is_allowed_where_nothing_is_said) {
  EXPECT_FALSE(is_allowed({}, request("GET", "/"), http::EncodedSlash::refuse));
}

TEST(HttpRules, sub_paths_are_whole_segments) {
  const Resource accounting{.path = "/accounting", .sub_paths = true};
  EXPECT_TRUE(allows(accounting, request("GET", "/accounting")));
  EXPECT_TRUE(allows(accounting, request("GET", "/accounting/")));
  EXPECT_TRUE(allows(accounting, request("GET", "/accounting/a/b")));
  EXPECT_FALSE(allows(accounting, request("GET", "/accounting-secret")));
  EXPECT_FALSE(allows(accounting, request("GET", "/Accounting")));
  EXPECT_FALSE(allows(accounting, request("GET", "/")));
  EXPECT_TRUE(allows({.path = "/a/", .sub_paths = true}, request("GET", "/a/b")));
  EXPECT_FALSE(allows({.path = "/a/", .sub_paths = true}, request("GET", "/a")));
}

TEST(HttpRules, an_exact_path_is_that_path) {
  const Resource one{.path = "/one", .sub_paths = false};
  EXPECT_TRUE(allows(one, request("GET", "/one")));
  EXPECT_FALSE(allows(one, request("GET", "/one/")));
  EXPECT_FALSE(allows(one, request("GET", "/one/more")));
}

TEST(HttpRules, methods_switches_and_upgrades_deny) {
  const Resource reads{.path = "/", .sub_paths = true, .methods = {"GET", "HEAD"}};
  EXPECT_TRUE(allows(reads, request("HEAD", "/x")));
  EXPECT_FALSE(allows(reads, request("POST", "/x")));
  EXPECT_FALSE(allows(reads, request("get", "/x")));
  EXPECT_FALSE(allows({.path = "/", .enabled = false}, request("GET", "/x")));
  EXPECT_FALSE(allows({.path = "/"}, request("GET", "/x", "websocket")));
  EXPECT_TRUE(allows({.path = "/", .upgrade = true}, request("GET", "/x", "websocket")));
}

TEST(HttpRules, an_encoded_slash_needs_a_mapping_that_keeps_it) {
  const Resource all{.path = "/", .sub_paths = true};
  EXPECT_FALSE(allows(all, request("GET", "/a%2Fb")));
  EXPECT_TRUE(allows(all, request("GET", "/a%2Fb"), http::EncodedSlash::keep));
}

TEST(HttpRules, asterisk_asks_of_the_root) {
  EXPECT_TRUE(allows({.path = "/", .sub_paths = false}, request("OPTIONS", "*")));
  EXPECT_FALSE(allows({.path = "/a", .sub_paths = true}, request("OPTIONS", "*")));
}

}  // namespace
}  // namespace culvert::agent
