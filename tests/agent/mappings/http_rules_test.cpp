// SPDX-License-Identifier: Apache-2.0
#include "agent/mappings/http_rules.hpp"

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
  return !refusal_of({{resource}, slash}, head);
}

TEST(HttpRules, nothing_is_allowed_without_resources) {
  const auto refusal = refusal_of({{}}, request("GET", "/"));
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, Reason::not_exposed);
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
  const std::vector<Resource> all{{.path = "/", .sub_paths = true}};
  for (const char* path : {"/a%2Fb", "/a%252fb", "/%25252F", "/Set('x%2Fy')"}) {
    const auto refused = refusal_of({all, http::EncodedSlash::refuse}, request("GET", path));
    ASSERT_TRUE(refused) << path;
    EXPECT_EQ(refused->reason, Reason::ambiguous_path) << path;
    EXPECT_FALSE(refusal_of({all, http::EncodedSlash::keep}, request("GET", path))) << path;
  }
}

TEST(HttpRules, an_encoded_slash_ends_no_segment) {
  const Resource accounting{.path = "/accounting", .sub_paths = true};
  EXPECT_FALSE(allows(accounting, request("GET", "/accounting%2Fx"), http::EncodedSlash::keep));
  EXPECT_TRUE(allows(accounting, request("GET", "/accounting/x%2Fy"), http::EncodedSlash::keep));
}

TEST(HttpRules, both_the_spelling_and_the_canonical_form_are_allowed_or_none) {
  const std::vector<Resource> accounting{{.path = "/accounting", .sub_paths = true}};
  const auto reason_of = [&](const char* path) -> std::optional<Reason> {
    const auto refusal = refusal_of({accounting}, request("GET", path));
    return refusal ? std::optional(refusal->reason) : std::nullopt;
  };
  for (const char* path : {"/accounting/%61", "/accounting//", "/accounting//x", "/accounting/%2b", "/accounting/a|b"})
    EXPECT_EQ(reason_of(path), std::nullopt) << path;
  for (const char* path : {"/%61ccounting", "//accounting", "/accounting-secret", "/account%69ng/x"})
    EXPECT_EQ(reason_of(path), Reason::not_exposed) << path;
  for (const char* path : {"/accounting/../secret", "/accounting/%2e%2e/secret", "/accounting/..;/secret",
                           "/accounting/./x", "accounting"})
    EXPECT_EQ(reason_of(path), Reason::ambiguous_path) << path;
}

TEST(HttpRules, a_method_in_a_field_is_a_method) {
  const Resource reads{.path = "/", .sub_paths = true, .methods = {"GET", "POST", "MERGE"}};
  const auto with = [](std::string_view name, std::string_view value) {
    http::RequestHead head = request("POST", "/x");
    head.fields.add("X-Csrf-Token", "DELETE");
    head.fields.add(name, value);
    return head;
  };
  for (const char* name : {"X-HTTP-Method", "x-http-method-override", "X-Method-Override", "X_HTTP_METHOD"}) {
    EXPECT_TRUE(allows(reads, with(name, "MERGE"))) << name;
    EXPECT_TRUE(allows(reads, with(name, "merge"))) << name;
    EXPECT_FALSE(allows(reads, with(name, "DELETE"))) << name;
    EXPECT_FALSE(allows(reads, with(name, "delete"))) << name;
    EXPECT_FALSE(allows(reads, with(name, "MERGE, DELETE"))) << name;
    EXPECT_TRUE(allows({.path = "/", .sub_paths = true}, with(name, "DELETE"))) << name;
  }
  http::RequestHead twice = with("X-HTTP-Method", "MERGE");
  twice.fields.add("X-HTTP-Method", "DELETE");
  EXPECT_FALSE(allows(reads, twice));
}

TEST(HttpRules, fields_that_rewrite_the_target_are_erased) {
  http::Fields fields;
  for (const char* name : {"X-Original-URL", "x_rewrite_url", "X-Host", "X-Script-Name", "X-Original-Host"})
    fields.add(name, "/admin");
  fields.add("X-Original", "kept");
  erase_rewriting_fields(fields);
  ASSERT_EQ(fields.size(), 1u);
  EXPECT_EQ(fields[0].name, "X-Original");
}

TEST(HttpRules, parameters_are_ignored_where_the_resource_says_so) {
  const Resource sap{.path = "/sap", .sub_paths = true, .ignores_parameters = true};
  for (const char* path : {"/sap", "/sap(bD1kZQ==)/bc/x", "/sap;v=1/bc", "/sap/x;y(z)", "/sap(a)"})
    EXPECT_TRUE(allows(sap, request("GET", path))) << path;
  for (const char* path : {"/sap-secret", "/sapx(a)/y", "/(sap)", "/;/sap", "/sap(a", "/sap(a)b/c", "/x/sap(a)"})
    EXPECT_FALSE(allows(sap, request("GET", path))) << path;
  const Resource login{.path = "/one/login", .sub_paths = false, .ignores_parameters = true};
  EXPECT_TRUE(allows(login, request("GET", "/one/login;jsessionid=0A1B")));
  EXPECT_FALSE(allows(login, request("GET", "/one/login;jsessionid=0A1B/more")));
  EXPECT_FALSE(allows({.path = "/one/login", .sub_paths = false}, request("GET", "/one/login;jsessionid=0A1B")));
}

TEST(HttpRules, the_hint_names_what_missed) {
  const std::vector<Resource> rules{{.path = "/a", .sub_paths = true, .methods = {"GET"}}};
  const auto hint = [&](const http::RequestHead& head) { return std::string(refusal_of({rules}, head)->hint); };
  EXPECT_EQ(hint(request("GET", "/b")), "no enabled resource has this path");
  EXPECT_EQ(hint(request("PUT", "/a/x")), "the resource of this path does not allow the method");
  EXPECT_EQ(hint(request("GET", "/a/x", "websocket")), "the resource allows no upgrade; upgrade = true allows it");
  EXPECT_TRUE(hint(request("GET", "/a(1)/x")).contains("parameters"));
}

TEST(HttpRules, an_encoded_backslash_needs_a_mapping_that_keeps_it) {
  const std::vector<Resource> all{{.path = "/", .sub_paths = true}};
  const auto refused = refusal_of({all}, request("GET", "/a%5cb"));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason, Reason::ambiguous_backslash);
  const http::PathRules kept(http::EncodedSlash::refuse, http::EncodedBackslash::keep);
  EXPECT_FALSE(refusal_of({all, kept}, request("GET", "/a%5cb")));
  for (const char* path : {"/a/..%5cb", "/a%5c../b", "/a/%2e%2e%5cb", "/a\\b", "/a%255cb", "/a%2fb"})
    EXPECT_TRUE(refusal_of({all, kept}, request("GET", path))) << path;
}

TEST(HttpRules, asterisk_means_the_root) {
  EXPECT_TRUE(allows({.path = "/", .sub_paths = false}, request("OPTIONS", "*")));
  EXPECT_FALSE(allows({.path = "/a", .sub_paths = true}, request("OPTIONS", "*")));
}

}  // namespace
}  // namespace culvert::agent
