// SPDX-License-Identifier: Apache-2.0
#include "server/targets/target_url.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using http::Scheme;

TEST(TargetUrl, is_read_in_its_parts_as_written) {
  struct Row {
    std::string_view text;
    TargetUrl url;
  };
  for (const auto& [text, url] : {
           Row{"https://shop", {Scheme::https, {"shop", 443}, "", ""}},
           Row{"HTTP://Shop.Example/", {Scheme::http, {"shop.example", 80}, "/", ""}},
           Row{"http://10.0.0.1:8080/a//b%2f%41/", {Scheme::http, {"10.0.0.1", 8080}, "/a//b%2f%41/", ""}},
           Row{"https://[fd00::1]:1/a?b=/../c", {Scheme::https, {"fd00::1", 1}, "/a", "?b=/../c"}},
           Row{"https://shop?a=b", {Scheme::https, {"shop", 443}, "", "?a=b"}},
           Row{"https://shop/?", {Scheme::https, {"shop", 443}, "/", ""}},
       }) {
    const auto read = parse_target_url(text);
    ASSERT_TRUE(read) << text << ": " << read.error().text;
    EXPECT_EQ(*read, url) << text << ": " << to_string(read->server) << " " << read->path << " " << read->query;
  }
}

TEST(TargetUrl, is_refused_and_not_repeated) {
  for (const char* text : {"",
                           "shop",
                           "//shop",
                           "ftp://shop",
                           "https:/shop",
                           "https://",
                           "https:///a",
                           "https://shop:0",
                           "https://shop:x/",
                           "https://shop:/",
                           "https://user@shop/",
                           "https://user:c4n4ry@shop/",
                           "https://shop/#c4n4ry",
                           "https://shop?a#b",
                           "https://shop#b",
                           "https://shop/a b",
                           "https://shop/a?b c",
                           "https://shop/\n",
                           "https://shop/a/../b",
                           "https://shop/.",
                           "https://shop/%2e%2e/",
                           "https://shop/a\\b",
                           "https://127.1/"}) {
    const auto read = parse_target_url(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, "config.malformed");
    EXPECT_FALSE(read.error().text.contains("c4n4ry"));
  }
}

}  // namespace
}  // namespace culvert::server
