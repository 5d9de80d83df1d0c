// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "common/net/endpoint.hpp"
#include "server/config/route.hpp"

namespace culvert::server {

/// A port of the server that a Service of the cluster points to, for one virtual host or for destinations.
struct OnPremisePort {
  std::string name;  ///< "namespace/name"
  std::uint16_t port = 0;
  /// Requests are parsed and get the virtual host as Host. Otherwise bytes are passed unparsed.
  bool is_http = false;
  Route route;
  Endpoint virtual_host;
  /// Requests go to this destination of the gateway, not to a virtual host; "*": X-Destination-Name of each request
  /// names it. Empty: to the virtual host.
  std::string destination;
  friend bool operator==(const OnPremisePort&, const OnPremisePort&) = default;
};

}  // namespace culvert::server
