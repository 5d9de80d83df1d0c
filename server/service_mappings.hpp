// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/config.hpp"

namespace culvert::server {

/// What each virtual service name leads to, by account and location. Looked up on the workers; nothing of it changes
/// but whose turn it is.
class ServiceMappings {
 public:
  explicit ServiceMappings(const std::vector<ServiceMapping>& mappings);

  /// Where the next stream goes; of several endpoints one by turns. nullptr: this account and location has no such
  /// service.
  const Endpoint* find(std::string_view account, std::string_view location, std::string_view service_id) const;

 private:
  static std::string key(std::string_view account, std::string_view location, std::string_view service_id);
  struct Target {
    std::vector<Endpoint> endpoints;  ///< Never empty.
    mutable std::atomic<std::size_t> turn = 0;
  };
  std::unordered_map<std::string, std::shared_ptr<const Target>> targets_;
};

}  // namespace culvert::server
