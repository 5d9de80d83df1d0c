// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "common/admin/log.hpp"
#include "common/config/settings.hpp"
#include "common/net/endpoint.hpp"
#include "common/tunnel/local_port.hpp"
#include "server/host_listener.hpp"

namespace culvert::server {

/// A port of ours that stands behind a Service of the cluster and leads to one virtual host.
struct OnPremisePort {
  std::string name;  ///< "namespace/name"
  std::uint16_t port = 0;
  bool is_http = false;  ///< Requests are parsed, and have the virtual host as Host. Else bytes pass.
  std::string account;
  std::string location;
  Endpoint virtual_host;
  friend bool operator==(const OnPremisePort&, const OnPremisePort&) = default;
};

/// All ports of the cluster's OnPremiseServices. One that cannot be opened is told of once, tried again with the next
/// change, and harms no other. At home.
class OnPremisePorts {
 public:
  /// Everything outlives it.
  OnPremisePorts(DataPlanes& planes, TunnelDirectory& directory, Log& log)
      : planes_(planes), directory_(directory), log_(log) {}

  /// These, and no others, from now on. `listen` but for the port's number. Connections that stand live on.
  void change(const std::vector<OnPremisePort>& wanted, const ListenSettings& listen);
  void close() { open_.clear(); }
  std::size_t size() const { return open_.size(); }

 private:
  struct Open {
    bool is_http = false;
    Endpoint listen;
    std::variant<std::unique_ptr<LocalPort>, std::unique_ptr<HostListener>> door;
  };
  Result<Open> open(const OnPremisePort& wanted, const ListenSettings& listen);

  DataPlanes& planes_;
  TunnelDirectory& directory_;
  Log& log_;
  std::map<std::uint16_t, Open> open_;
};

}  // namespace culvert::server
