// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "common/net/endpoint.hpp"
#include "server/config/route.hpp"

namespace culvert::server {

/// A port of the server for one virtual host, which a Service of the cluster points to.
struct OnPremisePort {
  std::string name;  ///< "namespace/name"
  std::uint16_t port = 0;
  /// Requests are parsed and get the virtual host as Host. Otherwise bytes are passed unparsed.
  bool is_http = false;
  Route route;
  Endpoint virtual_host;
  friend bool operator==(const OnPremisePort&, const OnPremisePort&) = default;
};

}  // namespace culvert::server
