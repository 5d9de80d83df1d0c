// SPDX-License-Identifier: Apache-2.0
#include "common/ports/tcp_port.hpp"

#include <chrono>
#include <memory>
#include <utility>

#include <fmt/core.h>

#include "common/tunnel/relay.hpp"

namespace culvert {

namespace {

constexpr std::chrono::seconds first_tunnel_wait_max{5};

void log_refusal(Log& log, const TcpRoute& route, const OpenRefusal& refusal) {
  const std::string text =
      refusal.reason ? refusal.text : fmt::format("{} to {}; `status` shows why", refusal.text, route.far_end);
  log.limited(Log::Level::warn, "stream.refused", {{"port", route.name}, {"reason", refusal.name()}, {"text", text}});
}

}  // namespace

ClientPort::Serve serve_tcp(const TunnelDirectory& directory, Log& log, TcpRoute route) {
  return
      [&directory, &log, route = std::make_shared<const TcpRoute>(std::move(route))](DataPlane& plane, Client client) {
        StreamOpener::Request request;
        request.key = route->key;
        request.open = route->open;
        request.wait_for_tunnel_until = client.port_opened + first_tunnel_wait_max;
        Relay::open(plane,
                    {.socket = std::move(client.socket),
                     .connection = std::move(client.connection),
                     .opener = std::make_unique<StreamOpener>(directory, std::move(request)),
                     .on_refused = [&log, route](const OpenRefusal& refusal) { log_refusal(log, *route, refusal); }});
      };
}

}  // namespace culvert
