// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/gateway/destinations.hpp"
#include "server/gateway/external_target.hpp"
#include "server/proxy/proxy_error.hpp"
#include "server/targets/gateway_path.hpp"

namespace culvert::server {

/// All targets by their names at the gateway. Immutable; used on every worker.
class GatewayTable {
 public:
  /// Adds an entry of a service. Names are display names. Entries keep their order; two of the same name are ambiguous.
  void add(const std::string& application, std::string_view service, std::string_view entry,
           std::shared_ptr<const ExternalTarget> target);
  /// `owner` tells services apart that have the same name in paths: both are then ambiguous.
  void add(const std::string& application, std::string_view service, std::string_view entry, std::string_view owner,
           std::shared_ptr<const ExternalTarget> target);

  void add(std::shared_ptr<const Destination> destination);
  /// nullptr: there is none of this name.
  std::shared_ptr<const Destination> find_destination(std::string_view name) const;

  /// The target of a path that split_gateway_path() has split.
  std::expected<std::shared_ptr<const ExternalTarget>, ProxyError> find(const GatewayPath& path,
                                                                        GatewayPort port) const;

  /// Calls `use` for each target.
  void each(const std::function<void(const ExternalTarget&)>& use) const;

 private:
  struct Entry {
    std::string name;
    std::shared_ptr<const ExternalTarget> target;
    bool is_ambiguous = false;
  };
  struct Service {
    std::string owner;
    std::vector<Entry> entries;
    bool is_ambiguous = false;
  };
  std::map<std::string, std::map<std::string, Service, std::less<>>, std::less<>> applications_;
  std::map<std::string, std::shared_ptr<const Destination>, std::less<>> destinations_;
};

}  // namespace culvert::server
