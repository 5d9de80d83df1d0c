// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "common/admin/log.hpp"
#include "common/ports/client_port.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "server/config/config.hpp"
#include "server/config/on_premise_port.hpp"
#include "server/gateway/gateway.hpp"
#include "server/proxy/http_proxy.hpp"
#include "server/proxy/socks5_client.hpp"

namespace culvert::server {

/// Shared by the server's client ports; must outlive them.
struct PortContext {
  const TunnelDirectory& directory;
  Log& log;
  std::shared_ptr<HttpPortContext> http;
  std::shared_ptr<Socks5Context> socks5;
  Gateway& gateway;
};

/// Returns the settings of all ports in the file: virtual listeners and proxies.
std::vector<ClientPort::Settings> ports_of(const Config& config, const PortContext& context);
/// Returns the settings of a port of the cluster. `listen` applies except for the port number. `kind` is the object's,
/// as in "destination".
ClientPort::Settings port_of(std::string_view kind, const OnPremisePort& wanted, ListenSettings listen,
                             const PortContext& context);

}  // namespace culvert::server
