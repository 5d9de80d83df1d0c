// SPDX-License-Identifier: Apache-2.0
#include "agent/http_rules.hpp"

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

using protocol::Reason;

http::RequestHead request(std::string method, std::string path, std::string upgrade = {}) {
  http::RequestHead head;
  head.method = std::move(method);
  head.path = std::move(path);
  head.upgrade = std::move(upgrade);
  return head;
}

bool allows(const Resource& resource, const http::RequestHead& head,
            http::EncodedSlash slash = http::EncodedSlash::refuse) {
  return allowed_path({resource}, head, slash).has_value();
}

TEST(HttpRules, nothing_is_allowed_where_nothing_is_said) {
  const auto path = allowed_path({}, request("GET", "/"), http::EncodedSlash::refuse);
  ASSERT_FALSE(path);
  EXPECT_EQ(path.error(), Reason::not_exposed);
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
  for (const char* path : {"/a%2Fb", "/a%252fb", "/%25252F", "/Set('x%2Fy')"}) {
    const auto refused = allowed_path({all}, request("GET", path), http::EncodedSlash::refuse);
    ASSERT_FALSE(refused) << path;
    EXPECT_EQ(refused.error(), Reason::ambiguous_path) << path;
    EXPECT_EQ(allowed_path({all}, request("GET", path), http::EncodedSlash::keep), path);
  }
}

TEST(HttpRules, an_encoded_slash_ends_no_segment) {
  const Resource accounting{.path = "/accounting", .sub_paths = true};
  EXPECT_FALSE(allows(accounting, request("GET", "/accounting%2Fx"), http::EncodedSlash::keep));
  EXPECT_TRUE(allows(accounting, request("GET", "/accounting/x%2Fy"), http::EncodedSlash::keep));
}

TEST(HttpRules, what_is_sent_on_is_what_was_matched) {
  const Resource accounting{.path = "/accounting", .sub_paths = true};
  const auto sent = [&](const char* path) {
    return allowed_path({accounting}, request("GET", path), http::EncodedSlash::refuse);
  };
  EXPECT_EQ(sent("/x/../accounting/%61"), "/accounting/a");
  EXPECT_EQ(sent("//accounting//"), "/accounting/");
  EXPECT_EQ(sent("/accounting/../secret").error(), Reason::not_exposed);
  EXPECT_EQ(sent("/accounting/%2e%2e/secret").error(), Reason::not_exposed);
  EXPECT_EQ(sent("/accounting/..;/secret").error(), Reason::ambiguous_path);
  EXPECT_EQ(sent("/accounting/../../accounting").error(), Reason::ambiguous_path);
  EXPECT_EQ(sent("accounting").error(), Reason::ambiguous_path);
}

TEST(HttpRules, asterisk_asks_of_the_root) {
  EXPECT_EQ(allowed_path({{.path = "/", .sub_paths = false}}, request("OPTIONS", "*"), http::EncodedSlash::refuse),
            "*");
  EXPECT_FALSE(allows({.path = "/a", .sub_paths = true}, request("OPTIONS", "*")));
}

}  // namespace
}  // namespace culvert::agent
