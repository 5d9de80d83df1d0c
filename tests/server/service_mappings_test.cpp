// SPDX-License-Identifier: Apache-2.0
#include "server/service_mappings.hpp"

#include <map>
#include <string>

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

ServiceMappings mappings() {
  return ServiceMappings({
      {.account = "acme", .service_id = "web", .internal_address = {"web.default.svc", 80}},
      {.account = "acme",
       .service_id = "web",
       .internal_address = {"web.berlin.svc", 81},
       .locations = {"berlin", "bonn"}},
      {.account = "other", .service_id = "web", .internal_address = {"web.other.svc", 82}},
  });
}

TEST(ServiceMappings, lead_by_account_location_and_service) {
  const auto table = mappings();
  ASSERT_NE(table.find("acme", "", "web"), nullptr);
  EXPECT_EQ(table.find("acme", "", "web")->host, "web.default.svc");
  EXPECT_EQ(table.find("acme", "bonn", "web")->port, 81);
  EXPECT_EQ(table.find("other", "", "web")->port, 82);
}

TEST(ServiceMappings, lead_to_the_endpoints_by_turns) {
  const ServiceMappings table({{.account = "acme",
                                .service_id = "web",
                                .internal_address = {"web.default.svc", 80},
                                .locations = {"", "berlin"},
                                .endpoints = {{"10.0.0.1", 8080}, {"10.0.0.2", 8080}}}});
  std::map<std::string, int> turns;
  for (int i = 0; i < 10; ++i) ++turns[table.find("acme", i % 2 == 0 ? "" : "berlin", "web")->host];
  EXPECT_EQ(turns, (std::map<std::string, int>{{"10.0.0.1", 5}, {"10.0.0.2", 5}}));
}

TEST(ServiceMappings, lead_nowhere_for_anybody_else) {
  const auto table = mappings();
  EXPECT_EQ(table.find("acme", "", "WEB"), nullptr);
  EXPECT_EQ(table.find("acme", "paris", "web"), nullptr) << "the default location is no fallback";
  EXPECT_EQ(table.find("other", "berlin", "web"), nullptr);
  EXPECT_EQ(table.find("nobody", "", "web"), nullptr);
}

/// The service id is the peer's word; account and location come from its certificate.
TEST(ServiceMappings, no_service_id_reaches_into_another_account_or_location) {
  const auto table = mappings();
  EXPECT_EQ(table.find("acme", "", "/web"), nullptr);
  EXPECT_EQ(table.find("acme", "", "berlin/web"), nullptr);
  EXPECT_EQ(table.find("", "acme", "berlin/web"), nullptr);
  EXPECT_EQ(table.find("", "", "acme//web"), nullptr);
}

}  // namespace
}  // namespace culvert::server
