// SPDX-License-Identifier: Apache-2.0
#include "server/ports.hpp"

#include <string>
#include <utility>

#include <fmt/core.h>

#include "common/ports/tcp_port.hpp"

namespace culvert::server {

namespace {

/// Serves a port that carries plain bytes to a virtual host.
ClientPort::Serve serve_virtual_host(const Route& route, const Endpoint& virtual_host, const std::string& name,
                                     const PortContext& context) {
  TcpRoute tcp;
  tcp.key = route.key();
  tcp.open.kind = protocol::Open::Kind::host;
  tcp.open.name = virtual_host.host;
  tcp.open.port = virtual_host.port;
  tcp.name = name;
  tcp.far_end = fmt::format("an agent of account {}, {}", route.account,
                            route.location.empty() ? "default location" : "location " + route.location);
  return serve_tcp(context.directory, context.log, std::move(tcp));
}

void add_gateway(const GatewaySettings& settings, const Gateway& gateway, std::vector<ClientPort::Settings>& ports) {
  const auto add = [&](const std::optional<Endpoint>& listen, std::string name,
                       const std::shared_ptr<HttpPortContext>& context) {
    if (!listen) return;
    ListenSettings port = settings.port;
    port.listen = *listen;
    ports.push_back({std::move(port), std::move(name), "gateway", serve_http(context)});
  };
  add(settings.port.listen, "gateway", gateway.services());
  add(settings.entries, "gateway_entries", gateway.entries());
  add(settings.destinations, "gateway_destinations", gateway.destinations());
  add(settings.health, "gateway_health", gateway.health());
}

}  // namespace

std::vector<ClientPort::Settings> ports_of(const Config& config, const PortContext& context) {
  std::vector<ClientPort::Settings> ports;
  for (const VirtualListener& listener : config.virtual_listeners) {
    const std::string name = fmt::format("virtual_listener {}", to_string(listener.virtual_host));
    const Route route{listener.account, listener.location};
    ports.push_back(
        {listener.port, name, "virtual_listeners", serve_virtual_host(route, listener.virtual_host, name, context)});
  }
  if (config.http_proxy) ports.push_back({config.http_proxy->port, "http_proxy", "proxies", serve_http(context.http)});
  if (config.gateway) add_gateway(*config.gateway, context.gateway, ports);
  if (config.socks5_proxy)
    ports.push_back({config.socks5_proxy->port, "socks5_proxy", "proxies", serve_socks5(context.socks5)});
  return ports;
}

ClientPort::Settings port_of(std::string_view kind, const OnPremisePort& wanted, ListenSettings listen,
                             const PortContext& context) {
  listen.listen.port = wanted.port;
  const std::string name = fmt::format("{} {}", kind, wanted.name);
  ClientPort::Serve serve;
  if (!wanted.destination.empty())
    serve = serve_http(context.gateway.port_of_destination(wanted.destination));
  else if (wanted.is_http)
    serve = serve_http_host(context.http, {wanted.virtual_host, wanted.route});
  else
    serve = serve_virtual_host(wanted.route, wanted.virtual_host, name, context);
  return {std::move(listen), name, kind == "destination" ? "destinations" : "on_premise_services", std::move(serve)};
}

}  // namespace culvert::server
