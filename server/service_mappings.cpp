// SPDX-License-Identifier: Apache-2.0
#include "server/service_mappings.hpp"

#include <fmt/core.h>

namespace culvert::server {

std::string ServiceMappings::key(std::string_view account, std::string_view location, std::string_view service_id) {
  // None of the parts has a slash.
  return fmt::format("{}/{}/{}", account, location, service_id);
}

ServiceMappings::ServiceMappings(const std::vector<ServiceMapping>& mappings) {
  for (const ServiceMapping& mapping : mappings) {
    const auto target = std::make_shared<Target>();
    target->endpoints = mapping.endpoints;
    if (target->endpoints.empty()) target->endpoints.push_back(mapping.internal_address);
    for (const std::string& location : mapping.locations) {
      targets_.emplace(key(mapping.account, location, mapping.service_id), target);
    }
  }
}

const Endpoint* ServiceMappings::find(std::string_view account, std::string_view location,
                                      std::string_view service_id) const {
  const auto found = targets_.find(key(account, location, service_id));
  if (found == targets_.end()) return nullptr;
  const Target& target = *found->second;
  if (target.endpoints.size() == 1) return &target.endpoints.front();
  return &target.endpoints[target.turn.fetch_add(1, std::memory_order_relaxed) % target.endpoints.size()];
}

}  // namespace culvert::server
