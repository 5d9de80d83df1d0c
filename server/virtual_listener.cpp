// SPDX-License-Identifier: Apache-2.0
#include "server/virtual_listener.hpp"

#include <utility>

#include <fmt/core.h>

#include "server/location_key.hpp"

namespace culvert::server {

LocalPort::Settings port_of(const VirtualListener& listener, std::string name) {
  LocalPort::Settings port;
  port.port = listener.port;
  port.key = location_key(listener.account, listener.location);
  port.open.kind = protocol::Open::Kind::host;
  port.open.name = listener.virtual_host.host;
  port.open.port = listener.virtual_host.port;
  port.name = std::move(name);
  port.far_end = fmt::format("an agent of account {}, {}", listener.account,
                             listener.location.empty() ? "default location" : "location " + listener.location);
  return port;
}

}  // namespace culvert::server
