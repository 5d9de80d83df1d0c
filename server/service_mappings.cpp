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
    for (const std::string& location : mapping.locations) {
      targets_.emplace(key(mapping.account, location, mapping.service_id), mapping.internal_address);
    }
  }
}

const Endpoint* ServiceMappings::find(std::string_view account, std::string_view location,
                                      std::string_view service_id) const {
  const auto found = targets_.find(key(account, location, service_id));
  return found == targets_.end() ? nullptr : &found->second;
}

}  // namespace culvert::server
