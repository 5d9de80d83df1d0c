// SPDX-License-Identifier: Apache-2.0
#include "common/http/web_dav.hpp"

#include <gtest/gtest.h>

namespace culvert::http {
namespace {

/// The URLs that the field names, each followed by a space, or "refused".
std::string urls_in(const char* name, const char* value) {
  Fields fields;
  fields.add("Depth", "infinity");
  fields.add(name, value);
  std::string urls;
  const bool is_good = map_dav_urls(fields, [&](DavField, std::string_view url) {
    urls.append(url).append(1, ' ');
    return std::string("X");
  });
  return is_good ? urls : "refused";
}

std::string mapped(const char* name, const char* value) {
  Fields fields;
  fields.add(name, value);
  EXPECT_TRUE(map_dav_urls(fields, [](DavField, std::string_view url) { return "in" + std::string(url); }));
  return std::string(fields[0].value);
}

TEST(WebDav, finds_each_url) {
  EXPECT_EQ(urls_in("Destination", "http://dav/x"), "http://dav/x ");
  EXPECT_EQ(urls_in("destination", "/x"), "/x ");
  EXPECT_EQ(urls_in("Destinations", "/x"), "");
  EXPECT_EQ(urls_in("If", "(<opaquelocktoken:1>)"), "");
  EXPECT_EQ(urls_in("If", "<http://dav/a> (<urn:1> [\"e)>\"]) <http://dav/b>(Not <urn:2>) (<DAV:no-lock>)"),
            "http://dav/a http://dav/b ");
  EXPECT_EQ(urls_in("IF", "</a>([W/\"x]y\"])"), "/a ");
}

TEST(WebDav, refuses_what_it_cannot_read) {
  for (const char* value :
       {"http://dav/a", "<http://dav/a", "(<urn:1>", "(<urn:1)", "<a> (<b>) x", "([\"x)", "((<a>))"})
    EXPECT_EQ(urls_in("If", value), "refused") << value;
  Fields twice;
  twice.add("Destination", "/a");
  twice.add("destination", "/b");
  EXPECT_FALSE(map_dav_urls(twice, [](DavField, std::string_view url) { return std::string(url); }));
  EXPECT_FALSE(map_dav_urls(twice, [](DavField, std::string_view) { return std::nullopt; }));
}

TEST(WebDav, keeps_what_is_around_a_url) {
  EXPECT_EQ(mapped("Destination", "/x"), "in/x");
  EXPECT_EQ(mapped("If", "</a> (<urn:1> [\"e\"])  </b>(Not <urn:2>)"), "<in/a> (<urn:1> [\"e\"])  <in/b>(Not <urn:2>)");
}

TEST(WebDav, knows_its_own_host_only) {
  const Endpoint dav{"dav", 80};
  for (const char* url : {"http://dav/x?y", "http://DAV:80/x?y", "HTTP://dav/x?y", "/x?y"})
    EXPECT_EQ(behind_host(url, dav), "/x?y") << url;
  EXPECT_EQ(behind_host("https://dav/x", {"dav", 443}), "/x");
  for (const char* url : {"http://other/x", "http://dav:81/x", "https://dav/x", "//dav/x", "dav/x", "ftp://dav/x", "",
                          "http://dav", "http://dav?/x", "http://u@dav/x", "http:///x", "http:/x"})
    EXPECT_EQ(behind_host(url, dav), std::nullopt) << url;
}

}  // namespace
}  // namespace culvert::http
