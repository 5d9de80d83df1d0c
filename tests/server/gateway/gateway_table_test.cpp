// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/gateway_table.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

std::shared_ptr<const ExternalTarget> named(std::string name) {
  auto target = std::make_shared<ExternalTarget>();
  target->name = std::move(name);
  return target;
}

std::string found(const GatewayTable& table, std::string_view path, GatewayPort port) {
  const auto split = split_gateway_path(path, port);
  if (!split) return "too short";
  const auto target = table.find(*split, port);
  return target ? (*target)->name : std::string(target.error().code);
}

TEST(GatewayTable, finds_targets_by_their_names_in_paths) {
  GatewayTable table;
  table.add("shop", "Orders API", "V 1", named("first"));
  table.add("shop", "Orders API", "v2", named("second"));
  using enum GatewayPort;
  EXPECT_EQ(found(table, "/shop/orders-api/x", services), "first");
  EXPECT_EQ(found(table, "/shop/orders-api/v-1/x", entries), "first");
  EXPECT_EQ(found(table, "/shop/orders-api/v2", entries), "second");
  EXPECT_EQ(found(table, "/shop/orders-api/v3/x", entries), "gateway.unknown_entry");
  EXPECT_EQ(found(table, "/shop/other/x", services), "gateway.unknown_service");
  EXPECT_EQ(found(table, "/Shop/orders-api/x", services), "gateway.unknown_application");
}

TEST(GatewayTable, never_chooses_between_two_that_have_one_name) {
  GatewayTable table;
  table.add("shop", "Orders API", "v1", "id-1", named("first"));
  table.add("shop", "orders-api", "v2", "id-2", named("second"));
  table.add("shop", "bills", "v1", "id-3", named("third"));
  table.add("shop", "bills", "V1", "id-3", named("fourth"));
  using enum GatewayPort;
  EXPECT_EQ(found(table, "/shop/orders-api/x", services), "gateway.ambiguous_service");
  EXPECT_EQ(found(table, "/shop/orders-api/v2/x", entries), "gateway.ambiguous_service");
  EXPECT_EQ(found(table, "/shop/bills/v1/x", entries), "gateway.ambiguous_entry");
}

}  // namespace
}  // namespace culvert::server
