// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/config/config.hpp"

namespace culvert::server {

/// The targets of virtual service names, by account and location. Used on all workers; immutable except the position of
/// the round robin.
class ServiceMappings {
 public:
  explicit ServiceMappings(const std::vector<ServiceMapping>& mappings = {});

  enum class Miss : std::uint8_t {
    no_such_service,  ///< Of this account and location.
    no_endpoint,      ///< The cluster has none at present.
  };
  /// Returns the target of the next stream, which lives as long as this table; several endpoints are used in turn.
  std::expected<const Endpoint*, Miss> find(std::string_view account, std::string_view location,
                                            std::string_view service_id) const;

 private:
  static std::string key(std::string_view account, std::string_view location, std::string_view service_id);
  struct Target {
    std::vector<Endpoint> endpoints;
    mutable std::atomic<std::size_t> turn = 0;
  };
  std::unordered_map<std::string, std::shared_ptr<const Target>> targets_;
};

}  // namespace culvert::server
