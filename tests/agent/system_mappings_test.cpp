// SPDX-License-Identifier: Apache-2.0
#include "agent/system_mappings.hpp"

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

SystemMapping mapping(std::string server, std::string host, std::uint16_t low, std::uint16_t high,
                      std::uint16_t internal_low) {
  SystemMapping made;
  made.server = std::move(server);
  made.virtual_host = {std::move(host), {low, high}};
  made.internal_host = {"10.0.0.1", {internal_low, static_cast<std::uint16_t>(internal_low + high - low)}};
  return made;
}

SystemMappings load(const std::vector<SystemMapping>& settings) {
  auto loaded = SystemMappings::load(settings);
  EXPECT_TRUE(loaded);
  return std::move(*loaded);
}

using enum SystemMappings::Refusal;

TEST(SystemMappings, lead_a_virtual_host_to_its_internal_one) {
  const auto table = load({mapping("eu", "erp", 443, 443, 8443)});
  const auto target = table.find("eu", "ERP", 443);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->endpoint.host, "10.0.0.1");
  EXPECT_EQ(target->endpoint.port, 8443);
  EXPECT_FALSE(target->tls);
}

TEST(SystemMappings, map_a_range_port_by_port_and_no_further) {
  const auto table = load({mapping("eu", "erp", 65'533, 65'535, 100)});
  EXPECT_FALSE(table.find("eu", "erp", 65'532));
  ASSERT_TRUE(table.find("eu", "erp", 65'533));
  EXPECT_EQ(table.find("eu", "erp", 65'535)->endpoint.port, 102);
  EXPECT_FALSE(table.find("eu", "erp", 0));
}

TEST(SystemMappings, refuse_what_the_file_does_not_expose) {
  const auto table = load({mapping("eu", "erp", 443, 443, 443)});
  EXPECT_EQ(table.find("eu", "erp", 444).error(), not_exposed);
  EXPECT_EQ(table.find("eu", "erp.", 443).error(), not_exposed);
  EXPECT_EQ(table.find("eu", "", 443).error(), not_exposed);
  EXPECT_EQ(table.find("eu", "10.0.0.1", 443).error(), not_exposed) << "the internal host is not a name of the outside";
  EXPECT_EQ(table.find("us", "erp", 443).error(), not_exposed) << "what one server may, another may not";
}

TEST(SystemMappings, take_connections_max_and_not_one_more) {
  auto settings = mapping("eu", "erp", 443, 443, 443);
  settings.connections_max = 2;
  const auto table = load({settings});
  auto first = table.find("eu", "erp", 443);
  auto second = table.find("eu", "erp", 443);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(table.find("eu", "erp", 443).error(), full);
  first->mapping_place.reset();
  EXPECT_TRUE(table.find("eu", "erp", 443));
}

TEST(SystemMappings, count_what_is_open_across_a_reload) {
  auto settings = mapping("eu", "erp", 443, 443, 443);
  settings.connections_max = 1;
  const auto older = load({settings});
  auto open = older.find("eu", "erp", 443);
  ASSERT_TRUE(open);
  auto newer = load({mapping("eu", "new", 1, 1, 1), settings});
  newer.succeed(older);
  EXPECT_EQ(newer.find("eu", "erp", 443).error(), full);
  EXPECT_TRUE(newer.find("eu", "new", 1));
  open->mapping_place.reset();
  EXPECT_TRUE(newer.find("eu", "erp", 443));
}

TEST(SystemMappings, name_the_mapping_whose_certificate_is_wrong) {
  auto settings = mapping("eu", "erp", 443, 443, 443);
  settings.protocol = MappingProtocol::tcps;
  settings.backend_ca = "/nowhere/ca.pem";
  const auto loaded = SystemMappings::load({settings});
  ASSERT_FALSE(loaded);
  EXPECT_TRUE(loaded.error().code.starts_with("tls."));
  EXPECT_NE(loaded.error().text.find("erp"), std::string::npos);
}

}  // namespace
}  // namespace culvert::agent
