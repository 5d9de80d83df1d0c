// SPDX-License-Identifier: Apache-2.0
// The part of ServerLink that runs on its tunnels' workers: what their server may reach, and news for home.
#include <utility>

#include "agent/http_exchange.hpp"
#include "agent/server_link.hpp"
#include "common/tls/peer_identity.hpp"

namespace culvert::agent {

using protocol::Reason;

Result<void> ServerLink::on_secured(Tunnel& tunnel) {
  return check_tunnel_protocol(tunnel.tls().native());
}

void ServerLink::on_greeted(Tunnel&, const protocol::Hello&) {}

void ServerLink::on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) {
  around_.directory.add(server_.name, {tunnel.id(), tunnel.plane().worker().index(), tunnel.load()});
  Arrival arrival{tunnel.id(),     tunnel.peer(),   tunnel.tcp_round_trip(), tunnel.tls_round_trip(),
                  welcome.replica, welcome.replicas};
  around_.planes.home().post([this, arrival = std::move(arrival)] { welcomed(arrival); });
}

/// However many lists a server sends, one waits for home.
void ServerLink::on_replicas(Tunnel&, const std::vector<std::string>& names) {
  told_.publish(std::make_shared<const std::vector<std::string>>(names));
  if (!telling_.exchange(true)) around_.planes.home().post([this] { hear_replicas(); });
}

void ServerLink::on_congested(Tunnel&) {
  around_.planes.home().post([this] { widen(); });
}

void ServerLink::on_opened(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open) {
  if (open.kind == protocol::Open::Kind::http) return open_exchange(tunnel, stream, open);
  if (open.kind != protocol::Open::Kind::host)
    return tunnel.reject(stream, {Reason::kind_unknown, false, "an agent leads to virtual hosts only"});
  auto target = around_.mappings.get()->find(server_.name, open.name, open.port);
  if (!target) return refuse(tunnel, stream, open, target.error());
  around_.acceptors[tunnel.plane().worker().index()]->dial(tunnel, stream, std::move(*target), quota_, around_.limits);
}

void ServerLink::open_exchange(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open) {
  auto target = around_.mappings.get()->find_http(server_.name, open.name, open.port);
  if (!target) return refuse(tunnel, stream, open, target.error());
  auto place = Quota::take(quota_.streams, around_.limits.streams_per_link_max);
  if (!place) return tunnel.reject(stream, {Reason::overloaded, true, "too many streams of this peer"});
  const std::size_t worker = tunnel.plane().worker().index();
  HttpExchange::start({tunnel.plane(), *around_.acceptors[worker], *around_.pools[worker], around_.log}, tunnel, stream,
                      open, std::move(*target), std::move(place));
}

void ServerLink::refuse(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open,
                        SystemMappings::Refusal why) {
  using Refusal = SystemMappings::Refusal;
  if (why == Refusal::speaks_http)
    return tunnel.reject(stream, {Reason::speaks_http, false, "this virtual host speaks HTTP: use http://"});
  const bool full = why == Refusal::full;
  around_.log.limited(
      Log::Level::warn, full ? "mapping.full" : "mapping.not_exposed",
      {{"server", server_.name},
       {"virtual_host", open.name},
       {"port", open.port},
       {"hint", full ? "all of its connections_max are open" : "no system_mapping of this server exposes it"}});
  if (full) return tunnel.reject(stream, {Reason::overloaded, false, "all connections of the mapping are open"});
  tunnel.reject(stream, {Reason::not_exposed, false, "the agent does not expose this virtual host"});
}

void ServerLink::on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) {
  around_.directory.remove(server_.name, tunnel.id());
  around_.planes.home().post([this, id = tunnel.id(), delay] { draining(id, delay); });
}

void ServerLink::on_closed(Tunnel& tunnel, const Error& why) {
  around_.directory.remove(server_.name, tunnel.id());
  around_.planes.home().post([this, id = tunnel.id(), why] { closed(id, why); });
}

}  // namespace culvert::agent
