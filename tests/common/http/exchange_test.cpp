// SPDX-License-Identifier: Apache-2.0
// Decisions about a whole exchange: whether its connections may be used again, and which names are mapped back.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/http/exchange_course.hpp"
#include "common/http/map_back.hpp"

namespace culvert::http {
namespace {

TEST(Reuse, is_for_exchanges_that_ended_without_a_doubt) {
  const ExchangeCourse good{{}, {.transfer = Transfer::length}, 200, true, true};
  EXPECT_TRUE(may_reuse_client(good));
  EXPECT_TRUE(may_reuse_back_end(good, 0));
  EXPECT_FALSE(may_reuse_back_end(good, 1)) << "an answer that nobody asked for";
  using Change = void (*)(ExchangeCourse&);
  const std::vector<std::pair<const char*, Change>> changes{
      {"the client closes", [](ExchangeCourse& e) { e.request.close = true; }},
      {"the back end closes", [](ExchangeCourse& e) { e.response.close = true; }},
      {"an old client", [](ExchangeCourse& e) { e.request.version = Version::http_1_0; }},
      {"an old back end", [](ExchangeCourse& e) { e.response.version = Version::http_1_0; }},
      {"an early response", [](ExchangeCourse& e) { e.request_is_complete = false; }},
      {"a response that was cut off", [](ExchangeCourse& e) { e.response_is_complete = false; }},
      {"a body until the close", [](ExchangeCourse& e) { e.response.transfer = Transfer::until_close; }},
      {"another protocol", [](ExchangeCourse& e) { e.status = 101; }},
      {"only an interim response", [](ExchangeCourse& e) { e.status = 100; }},
  };
  for (const auto& [name, change] : changes) {
    ExchangeCourse exchange = good;
    change(exchange);
    EXPECT_FALSE(may_reuse_client(exchange)) << name;
    EXPECT_FALSE(may_reuse_back_end(exchange, 0)) << name;
  }
}

constexpr const char* unchanged = nullptr;
struct Mapped {
  const char* value;
  const char* expected;
};

const Names plain_names{Scheme::http, {"backend.corp", 8080}, {"erp", 80}};
const Names tls_names{Scheme::https, {"backend.corp", 443}, {"erp", 44300}};

TEST(MapLocation, brings_internal_and_careless_names_back) {
  for (const auto& [value, expected] : {
           Mapped{"http://backend.corp:8080/a?b#c", "http://erp/a?b#c"},
           Mapped{"HTTP://Backend.Corp.:8080", "http://erp"},
           Mapped{"http://backend.corp:8080?a", "http://erp?a"},
           Mapped{"//backend.corp:8080/a", "http://erp/a"},
           Mapped{"http://erp/a", "http://erp/a"},
           Mapped{"https://erp:80/a", "http://erp/a"},
           Mapped{"http://erp:8080/a", "http://erp/a"},
           Mapped{"http://erp:8081/a", unchanged},
           Mapped{"https://erp:8080/a", unchanged},
           Mapped{"/a", unchanged},
           Mapped{"a", unchanged},
           Mapped{"", unchanged},
           Mapped{"?a", unchanged},
           Mapped{"http://backend.corp/a", unchanged},
           Mapped{"https://backend.corp:8080/a", unchanged},
           Mapped{"http://other:8080/a", unchanged},
           Mapped{"http://backend.corp:8080@evil/a", unchanged},
           Mapped{"http://user@backend.corp:8080/a", unchanged},
           Mapped{"http://xbackend.corp:8080/a", unchanged},
           Mapped{"http://backend.corp:8080.evil/a", unchanged},
           Mapped{"ftp://backend.corp:8080/a", unchanged},
           Mapped{"http:/backend.corp:8080/a", unchanged},
           Mapped{"mailto:x", unchanged},
       }) {
    const auto mapped = map_location(value, plain_names);
    if (expected == unchanged) {
      EXPECT_EQ(mapped, std::nullopt) << value;
    } else {
      EXPECT_EQ(mapped, expected) << value;
    }
  }
}

TEST(MapLocation, brings_https_of_the_back_end_back_to_http) {
  for (const auto& [value, expected] : {
           Mapped{"https://backend.corp/a", "http://erp:44300/a"},
           Mapped{"https://backend.corp:443/a", "http://erp:44300/a"},
           Mapped{"//backend.corp/a", "http://erp:44300/a"},
           Mapped{"https://erp:44300/a", "http://erp:44300/a"},
           Mapped{"https://erp/a", "http://erp:44300/a"},
           Mapped{"http://backend.corp/a", unchanged},
           Mapped{"http://erp/a", unchanged},
       }) {
    const auto mapped = map_location(value, tls_names);
    if (expected == unchanged) {
      EXPECT_EQ(mapped, std::nullopt) << value;
    } else {
      EXPECT_EQ(mapped, expected) << value;
    }
  }
}

TEST(MapCookie, gives_a_domain_of_the_back_end_the_virtual_name) {
  const Names dotted{Scheme::http, plain_names.internal, {"erp.example", 80}};
  for (const auto& [value, expected] : {
           Mapped{"a=b; Domain=backend.corp; Path=/", "a=b; Domain=erp.example; Path=/"},
           Mapped{"a=b;domain=.CORP", "a=b; Domain=erp.example"},
           Mapped{"a=b; DOMAIN = Backend.Corp ;Secure", "a=b; Domain=erp.example;Secure"},
           Mapped{"a=b; Domain=x; Domain=corp", "a=b; Domain=x; Domain=erp.example"},
           Mapped{"Domain=backend.corp", unchanged},
           Mapped{"a=Domain=backend.corp; Path=/", unchanged},
           Mapped{"a=b", unchanged},
           Mapped{"a=b; Domain", unchanged},
           Mapped{"a=b; Domain=", unchanged},
           Mapped{"a=b; Domain=.", unchanged},
           Mapped{"a=b; Domain=orp", unchanged},
           Mapped{"a=b; Domain=other.corp", unchanged},
           Mapped{"a=b; Domain=x.backend.corp", unchanged},
           Mapped{"a=b; Path=/; XDomain=backend.corp", unchanged},
           Mapped{"a=b; Secure; SameSite=None", unchanged},
           Mapped{"", unchanged},
       }) {
    const auto mapped = map_cookie(value, dotted);
    if (expected == unchanged) {
      EXPECT_EQ(mapped, std::nullopt) << value;
    } else {
      EXPECT_EQ(mapped, expected) << value;
    }
  }
  const Names literal{Scheme::http, {"10.0.0.1", 80}, {"erp.example", 80}};
  EXPECT_EQ(map_cookie("a=b; Domain=10.0.0.1", literal), "a=b; Domain=erp.example");
  EXPECT_EQ(map_cookie("a=b; Domain=0.0.1", literal), std::nullopt);
}

TEST(MapCookie, has_no_domain_that_a_client_would_refuse) {
  for (const char* outside : {"erp", "10.1.2.3", "2001:db8::1"}) {
    const Names names{Scheme::http, plain_names.internal, {outside, 80}};
    EXPECT_EQ(map_cookie("a=b; Domain=backend.corp; Path=/", names), "a=b; Path=/") << outside;
    EXPECT_EQ(map_cookie("a=b; Domain=corp", names), "a=b") << outside;
    EXPECT_EQ(map_cookie("a=b; Domain=other.corp", names), std::nullopt) << outside;
  }
}

TEST(MapCookie, is_not_secure_where_the_client_asks_by_http) {
  Names names{Scheme::https, plain_names.internal, {"erp.example", 80}, true};
  EXPECT_EQ(map_cookie("a=b; Secure; HttpOnly", names), "a=b; HttpOnly");
  EXPECT_EQ(map_cookie("a=Secure;secure ; SameSite = none; Path=/", names), "a=Secure; Path=/");
  EXPECT_EQ(map_cookie("a=b; SameSite=Lax", names), std::nullopt);
  EXPECT_EQ(map_cookie("__Host-a=b; Secure", names), "__Host-a=b");
  names.strips_secure = false;
  EXPECT_EQ(map_cookie("a=b; Secure", names), std::nullopt);
}

TEST(MapBack, changes_these_fields_and_no_others) {
  Fields fields;
  fields.add("location", "http://backend.corp:8080/a");
  fields.add("Content-Location", "http://backend.corp:8080/b");
  fields.add("Set-Cookie", "a=b; Domain=corp");
  fields.add("Set-Cookie", "c=d; Domain=corp");
  fields.add("Link", "http://backend.corp:8080/c");
  map_back(fields, plain_names);
  std::vector<std::string> values;
  for (const auto& [name, value] : fields) values.emplace_back(value);
  EXPECT_EQ(values,
            (std::vector<std::string>{"http://erp/a", "http://erp/b", "a=b", "c=d", "http://backend.corp:8080/c"}));
}

}  // namespace
}  // namespace culvert::http
