// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/gateway_request.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

TargetUrl url(std::string_view text) {
  return parse_target_url(text).value();
}

struct LocationCase {
  std::string_view base;
  std::string_view location;
  std::optional<std::string> mapped;
};

TEST(GatewayRequest, maps_a_location) {
  const TargetNames names{{"gateway", 8080}, "/shop/orders"};
  const LocationCase cases[] = {
      {"http://t/api", "http://t/api/x?a=b#c", "http://gateway:8080/shop/orders/x?a=b#c"},
      {"http://t/api", "HTTP://T:80/api", "http://gateway:8080/shop/orders"},
      {"http://t/api/", "http://t/api/x", "http://gateway:8080/shop/orders/x"},
      {"http://t", "http://t", "http://gateway:8080/shop/orders"},
      {"http://t/api", "//t/api/x", "http://gateway:8080/shop/orders/x"},
      {"http://t/api", "/api/x", "/shop/orders/x"},
      {"http://t/api", "x/y", "/shop/orders/x/y"},
      {"http://t/api", "./x", "/shop/orders/x"},
      {"http://t/api", "?a", std::nullopt},
      {"http://t/api", "#a", std::nullopt},
      {"http://t/api", "", std::nullopt},
      // Outside of the base path: whole, so that it is no path of the gateway.
      {"http://t/api", "/login", "http://t/login"},
      {"http://t/api", "../login", "http://t/login"},
      {"http://t/api", "http://t/api/../login", "http://t/login"},
      {"http://t/api", "/api/%2E./login", "http://t/login"},
      {"http://t/api", "/api2/x", "http://t/api2/x"},
      // Elsewhere: as it is.
      {"http://t/api", "https://t/api/x", std::nullopt},
      {"http://t/api", "http://t:8080/api/x", std::nullopt},
      {"http://t/api", "http://other/api/x", std::nullopt},
      {"http://t/api", "//other/api/x", std::nullopt},
      {"http://t/api", "mailto:a@t", std::nullopt},
      {"http://t/api", "http://t@evil/api/x", std::nullopt},
  };
  for (const LocationCase& each : cases)
    EXPECT_EQ(map_location(each.location, "/api/a", url(each.base), names), each.mapped) << each.location;
}

TEST(GatewayRequest, maps_to_a_path_without_a_host) {
  EXPECT_EQ(map_location("http://t/api/x", "/api/a", url("http://t/api"), {{"", 80}, "/p"}), "/p/x");
}

TEST(GatewayRequest, sends_again_only_what_cannot_be_done_twice) {
  struct Case {
    SentSoFar sent;
    bool may;
  };
  const Case cases[] = {
      {{"GET", false, 0, true}, true},    {{"PUT", true, 100, true}, true},
      {{"PUT", true, 100, false}, false}, {{"PUT", true, 0, false}, true},
      {{"DELETE", true, 5, true}, true},  {{"POST", true, 0, true}, true},  // The target has seen no byte of the body.
      {{"POST", true, 1, true}, false},   {{"POST", false, 0, true}, false},  // It has seen all there is.
      {{"PATCH", true, 3, true}, false},  {{"get", false, 0, true}, false},   // Methods are case-sensitive.
  };
  for (const Case& each : cases)
    EXPECT_EQ(may_send_again(each.sent), each.may) << each.sent.method << each.sent.body_bytes;
}

TEST(GatewayRequest, becomes_the_targets_own) {
  ExternalTarget target;
  target.url = url("https://t:8443/api?fixed=1");
  target.parameters.query = "q=2";
  target.parameters.fields.add("X-Key", "a");
  target.parameters.fields.add("X-Key", "b");
  target.login.add("Authorization", "Basic abc");
  http::RequestHead head;
  head.method = "GET";
  head.query = "?mine=3";
  head.fields.add("X-Key", "mine");
  head.fields.add("Authorization", "Bearer mine");
  head.fields.add("X-Forwarded-For", "10.0.0.1");
  EXPECT_TRUE(make_request(head, target, "/x//y/", http::Version::http_1_1));
  EXPECT_EQ(head.path + head.query, "/api/x//y/?fixed=1&mine=3&q=2");
  EXPECT_EQ(head.scheme, http::Scheme::https);
  EXPECT_EQ(to_string(head.authority), "t:8443");
  EXPECT_EQ(head.fields.count("X-Key"), 2U);
  EXPECT_EQ(head.fields.find("Authorization"), "Basic abc");
  EXPECT_FALSE(head.fields.find("X-Forwarded-For"));
}

TEST(GatewayRequest, leaves_the_login_to_a_client_that_has_its_own) {
  ExternalTarget target;
  target.url = url("http://t");
  target.login.add("Authorization", "Basic abc");
  http::RequestHead head;
  head.method = "GET";
  head.fields.add("Access-Token", "Bearer mine");
  EXPECT_FALSE(make_request(head, target, "", http::Version::http_1_1));
  EXPECT_EQ(head.fields.find("Authorization"), "Bearer mine");
  EXPECT_FALSE(head.fields.find("Access-Token"));
}

TEST(GatewayRequest, adds_cookies_and_replaces_other_fields) {
  http::Fields fields;
  fields.add("Cookie", "a=1");
  fields.add("X-CSRF-Token", "old");
  http::Fields grant;
  grant.add("X-CSRF-Token", "new");
  grant.add("Cookie", "s=2");
  add_grant(fields, grant);
  EXPECT_EQ(fields.find("Cookie"), "a=1; s=2");
  EXPECT_EQ(fields.count("Cookie"), 1U);
  EXPECT_EQ(fields.find("X-CSRF-Token"), "new");
}

}  // namespace
}  // namespace culvert::server
