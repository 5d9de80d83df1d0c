// SPDX-License-Identifier: Apache-2.0
// What is decided about an exchange as a whole: may its connections be used again, and which names come back.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/http/map_back.hpp"
#include "common/http/reuse.hpp"

namespace culvert::http {
namespace {

TEST(Reuse, is_for_exchanges_that_ended_without_a_doubt) {
  const Exchange good{{}, {.transfer = Transfer::length}, 200, true, true};
  EXPECT_TRUE(may_reuse_client(good));
  EXPECT_TRUE(may_reuse_back_end(good, 0));
  EXPECT_FALSE(may_reuse_back_end(good, 1)) << "an answer that nobody asked for";
  using Change = void (*)(Exchange&);
  const std::vector<std::pair<const char*, Change>> changes{
      {"the client closes", [](Exchange& e) { e.request.close = true; }},
      {"the back end closes", [](Exchange& e) { e.response.close = true; }},
      {"an old client", [](Exchange& e) { e.request.version = Version::http_1_0; }},
      {"an old back end", [](Exchange& e) { e.response.version = Version::http_1_0; }},
      {"an early response", [](Exchange& e) { e.request_is_complete = false; }},
      {"a response that was cut off", [](Exchange& e) { e.response_is_complete = false; }},
      {"a body until the close", [](Exchange& e) { e.response.transfer = Transfer::until_close; }},
      {"another protocol", [](Exchange& e) { e.status = 101; }},
      {"only an interim response", [](Exchange& e) { e.status = 100; }},
  };
  for (const auto& [name, change] : changes) {
    Exchange exchange = good;
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
  for (const auto& [value, expected] : {
           Mapped{"a=b; Domain=backend.corp; Path=/", "a=b; Domain=erp; Path=/"},
           Mapped{"a=b;domain=.CORP", "a=b; Domain=erp"},
           Mapped{"a=b; DOMAIN = Backend.Corp ;Secure", "a=b; Domain=erp;Secure"},
           Mapped{"a=b; Domain=x; Domain=corp", "a=b; Domain=x; Domain=erp"},
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
           Mapped{"", unchanged},
       }) {
    const auto mapped = map_cookie(value, plain_names);
    if (expected == unchanged) {
      EXPECT_EQ(mapped, std::nullopt) << value;
    } else {
      EXPECT_EQ(mapped, expected) << value;
    }
  }
  const Names literal{Scheme::http, {"10.0.0.1", 80}, {"erp", 80}};
  EXPECT_EQ(map_cookie("a=b; Domain=10.0.0.1", literal), "a=b; Domain=erp");
  EXPECT_EQ(map_cookie("a=b; Domain=0.0.1", literal), std::nullopt);
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
  EXPECT_EQ(values, (std::vector<std::string>{"http://erp/a", "http://erp/b", "a=b; Domain=erp", "c=d; Domain=erp",
                                              "http://backend.corp:8080/c"}));
}

}  // namespace
}  // namespace culvert::http
