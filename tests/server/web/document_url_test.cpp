// SPDX-License-Identifier: Apache-2.0
#include "server/web/document_url.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using http::Scheme;

TEST(DocumentUrl, is_read_in_its_parts) {
  struct Row {
    std::string_view text;
    DocumentUrl url;
  };
  for (const auto& [text, url] : {
           Row{"https://issuer", {Scheme::https, {"issuer", 443}, "/", ""}},
           Row{"https://issuer/", {Scheme::https, {"issuer", 443}, "/", ""}},
           Row{"https://Issuer.Example:8443/keys?a=b", {Scheme::https, {"issuer.example", 8443}, "/keys", "?a=b"}},
           Row{"https://10.0.0.1:6443", {Scheme::https, {"10.0.0.1", 6443}, "/", ""}},
           Row{"https://[fd00::1]/a%2fb", {Scheme::https, {"fd00::1", 443}, "/a%2fb", ""}},
           Row{"http://127.0.0.1:8001/keys", {Scheme::http, {"127.0.0.1", 8001}, "/keys", ""}},
           Row{"http://localhost", {Scheme::http, {"localhost", 80}, "/", ""}},
           Row{"http://[::1]:80/", {Scheme::http, {"::1", 80}, "/", ""}},
       }) {
    const auto read = parse_document_url(text);
    ASSERT_TRUE(read) << text << ": " << read.error().text;
    EXPECT_EQ(*read, url) << text << ": " << to_string(read->server) << " " << read->path << " " << read->query;
  }
}

TEST(DocumentUrl, is_refused) {
  for (const char* text : {"",
                           "issuer",
                           "issuer:443",
                           "//issuer/",
                           "ftp://issuer/",
                           "HTTPS://issuer/",
                           "https:/issuer",
                           "https://",
                           "https:///keys",
                           "https://:443/",
                           "https://issuer:/",
                           "https://issuer:0/",
                           "https://issuer:65536/",
                           "https://issuer:x/",
                           "https://user@issuer/",
                           "https://user:secret@issuer/",
                           "https://issuer/#part",
                           "https://issuer?a=b",
                           "https://issuer#part",
                           "https://issuer/a b",
                           "https://issuer/\n",
                           "https://issuer/%2g",
                           "https://127.1/",
                           "https://fd00::1/",
                           "http://issuer/",
                           "http://10.0.0.1/",
                           "http://127.0.0.1.example/"}) {
    const auto read = parse_document_url(text);
    EXPECT_FALSE(read) << text;
    if (!read) EXPECT_EQ(read.error().code, "config.malformed");
  }
}

}  // namespace
}  // namespace culvert::server
