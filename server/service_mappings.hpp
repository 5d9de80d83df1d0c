// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/config.hpp"

namespace culvert::server {

/// What each virtual service name leads to, by account and location. An immutable value, looked up on the workers.
class ServiceMappings {
 public:
  explicit ServiceMappings(const std::vector<ServiceMapping>& mappings);

  /// nullptr: this account and location has no such service.
  const Endpoint* find(std::string_view account, std::string_view location, std::string_view service_id) const;

 private:
  static std::string key(std::string_view account, std::string_view location, std::string_view service_id);
  std::unordered_map<std::string, Endpoint> targets_;
};

}  // namespace culvert::server
