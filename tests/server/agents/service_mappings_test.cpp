// SPDX-License-Identifier: Apache-2.0
#include "server/agents/service_mappings.hpp"

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

std::string found(const ServiceMappings& table, std::string_view account, std::string_view location,
                  std::string_view service_id) {
  const auto target = table.find(account, location, service_id);
  if (target) return to_string(**target);
  return target.error() == ServiceMappings::Miss::no_endpoint ? "no endpoint" : "no such service";
}

TEST(ServiceMappings, lead_by_account_location_and_service) {
  const auto table = mappings();
  EXPECT_EQ(found(table, "acme", "", "web"), "web.default.svc:80");
  EXPECT_EQ(found(table, "acme", "bonn", "web"), "web.berlin.svc:81");
  EXPECT_EQ(found(table, "other", "", "web"), "web.other.svc:82");
}

TEST(ServiceMappings, lead_to_the_endpoints_in_turn) {
  const ServiceMappings table({{.account = "acme",
                                .service_id = "web",
                                .internal_address = {"web.default.svc", 80},
                                .locations = {"", "berlin"},
                                .endpoints = {{{"10.0.0.1", 8080}, {"10.0.0.2", 8080}}}}});
  std::map<std::string, int> turns;
  for (int i = 0; i < 10; ++i) ++turns[found(table, "acme", i % 2 == 0 ? "" : "berlin", "web")];
  EXPECT_EQ(turns, (std::map<std::string, int>{{"10.0.0.1:8080", 5}, {"10.0.0.2:8080", 5}}));
}

TEST(ServiceMappings, lead_nowhere_while_the_cluster_has_no_endpoint) {
  const ServiceMappings table({{.account = "acme",
                                .service_id = "web",
                                .internal_address = {"web.default.svc", 80},
                                .endpoints = std::vector<Endpoint>()}});
  EXPECT_EQ(found(table, "acme", "", "web"), "no endpoint") << "DNS is no fallback";
}

TEST(ServiceMappings, lead_nowhere_for_another_account_or_location) {
  const auto table = mappings();
  EXPECT_EQ(found(table, "acme", "", "WEB"), "no such service");
  EXPECT_EQ(found(table, "acme", "paris", "web"), "no such service") << "the default location is no fallback";
  EXPECT_EQ(found(table, "other", "berlin", "web"), "no such service");
  EXPECT_EQ(found(table, "nobody", "", "web"), "no such service");
}

/// The service id is from the peer's OPEN; account and location are from its certificate.
TEST(ServiceMappings, no_service_id_reaches_into_another_account_or_location) {
  const auto table = mappings();
  EXPECT_EQ(found(table, "acme", "", "/web"), "no such service");
  EXPECT_EQ(found(table, "acme", "", "berlin/web"), "no such service");
  EXPECT_EQ(found(table, "", "acme", "berlin/web"), "no such service");
  EXPECT_EQ(found(table, "", "", "acme//web"), "no such service");
}

}  // namespace
}  // namespace culvert::server
