// SPDX-License-Identifier: Apache-2.0
#include "agent/mappings/system_mappings.hpp"

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

using enum SystemMappings::Miss;
using Kind = protocol::Open::Kind;

TEST(SystemMappings, lead_a_virtual_host_to_its_internal_one) {
  const auto table = load({mapping("eu", "erp", 443, 443, 8443)});
  const auto target = table.find("eu", "ERP", 443, Kind::host);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->endpoint.host, "10.0.0.1");
  EXPECT_EQ(target->endpoint.port, 8443);
  EXPECT_FALSE(target->tls);
}

TEST(SystemMappings, map_a_range_port_by_port_and_no_further) {
  const auto table = load({mapping("eu", "erp", 65'533, 65'535, 100)});
  EXPECT_FALSE(table.find("eu", "erp", 65'532, Kind::host));
  ASSERT_TRUE(table.find("eu", "erp", 65'533, Kind::host));
  EXPECT_EQ(table.find("eu", "erp", 65'535, Kind::host)->endpoint.port, 102);
  EXPECT_FALSE(table.find("eu", "erp", 0, Kind::host));
}

TEST(SystemMappings, know_a_host_in_each_of_its_spellings) {
  const auto table = load({mapping("eu", "erp", 443, 443, 443), mapping("eu", "10.1.2.3", 443, 443, 443),
                           mapping("eu", "2001:db8::1", 443, 443, 443)});
  for (const auto host :
       {"erp", "ERP", "erp.", "10.1.2.3", "::ffff:10.1.2.3", "::FFFF:a01:203", "2001:db8::1", "2001:DB8:0:0:0:0:0:1"})
    EXPECT_TRUE(table.find("eu", host, 443, Kind::host)) << host;
  for (const auto host : {"010.1.2.3", "0x0a010203", "10.258", "10.66051", "167838211", "::10.1.2.3", "[2001:db8::1]"})
    EXPECT_FALSE(table.find("eu", host, 443, Kind::host)) << host;
}

TEST(SystemMappings, refuse_what_the_file_does_not_expose) {
  const auto table = load({mapping("eu", "erp", 443, 443, 443)});
  EXPECT_EQ(table.find("eu", "erp", 444, Kind::host).error(), not_exposed);
  EXPECT_EQ(table.find("eu", "erp..", 443, Kind::host).error(), not_exposed);
  EXPECT_EQ(table.find("eu", "", 443, Kind::host).error(), not_exposed);
  EXPECT_EQ(table.find("eu", "10.0.0.1", 443, Kind::host).error(), not_exposed)
      << "the internal host is not a name of the outside";
  EXPECT_EQ(table.find("us", "erp", 443, Kind::host).error(), not_exposed) << "what one server may, another may not";
}

Permit take_connection(const SystemMappings& table, std::string_view host, std::uint16_t port) {
  const auto target = table.find("eu", host, port, Kind::host);
  return target ? Quota::take(target->connections, target->connections_max) : nullptr;
}

TEST(SystemMappings, allow_connections_max_and_not_one_more) {
  auto settings = mapping("eu", "erp", 443, 443, 443);
  settings.connections_max = 2;
  const auto table = load({settings});
  auto first = take_connection(table, "erp", 443);
  auto second = take_connection(table, "erp", 443);
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(take_connection(table, "erp", 443));
  first.reset();
  EXPECT_TRUE(take_connection(table, "erp", 443));
}

TEST(SystemMappings, count_what_is_open_across_a_reload) {
  auto settings = mapping("eu", "erp", 443, 443, 443);
  settings.connections_max = 1;
  const auto older = load({settings});
  auto open = take_connection(older, "erp", 443);
  ASSERT_TRUE(open);
  auto newer = load({mapping("eu", "new", 1, 1, 1), settings});
  newer.succeed(older);
  EXPECT_FALSE(take_connection(newer, "erp", 443));
  EXPECT_TRUE(take_connection(newer, "new", 1));
  open.reset();
  EXPECT_TRUE(take_connection(newer, "erp", 443));
}

TEST(SystemMappings, count_connections_of_an_http_mapping_across_a_reload) {
  auto settings = mapping("eu", "erp", 80, 80, 80);
  settings.protocol = MappingProtocol::http;
  settings.connections_max = 1;
  const auto older = load({settings});
  const auto before = older.find_http("eu", "erp", 80);
  ASSERT_TRUE(before);
  auto newer = load({settings});
  newer.succeed(older);
  const auto after = newer.find_http("eu", "erp", 80);
  ASSERT_TRUE(after);
  EXPECT_EQ((*after)->back_end.target.connections, (*before)->back_end.target.connections);
  EXPECT_NE((*after)->back_end.key, (*before)->back_end.key) << "what is idle was opened by the rules of before";
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
