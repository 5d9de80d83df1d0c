// SPDX-License-Identifier: Apache-2.0
#include "server/agents/service_mappings.hpp"

#include <fmt/core.h>

namespace culvert::server {

std::string ServiceMappings::key(std::string_view account, std::string_view location, std::string_view service_id) {
  // No part contains a slash.
  return fmt::format("{}/{}/{}", account, location, service_id);
}

ServiceMappings::ServiceMappings(const std::vector<ServiceMapping>& mappings) {
  for (const ServiceMapping& mapping : mappings) {
    const auto target = std::make_shared<Target>();
    target->endpoints = mapping.endpoints.value_or(std::vector{mapping.internal_address});
    for (const std::string& location : mapping.locations) {
      targets_.emplace(key(mapping.account, location, mapping.service_id), target);
    }
  }
}

std::expected<const Endpoint*, ServiceMappings::Miss> ServiceMappings::find(std::string_view account,
                                                                            std::string_view location,
                                                                            std::string_view service_id) const {
  const auto found = targets_.find(key(account, location, service_id));
  if (found == targets_.end()) return std::unexpected(Miss::no_such_service);
  const Target& target = *found->second;
  if (target.endpoints.empty()) return std::unexpected(Miss::no_endpoint);
  if (target.endpoints.size() == 1) return &target.endpoints.front();
  return &target.endpoints[target.turn.fetch_add(1, std::memory_order_relaxed) % target.endpoints.size()];
}

}  // namespace culvert::server
