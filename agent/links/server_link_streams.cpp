// SPDX-License-Identifier: Apache-2.0
// The part of ServerLink that runs on its tunnels' workers: it decides what the server's streams may reach, and posts
// what happens to the tunnels home.
#include <algorithm>
#include <utility>

#include "agent/links/server_link.hpp"
#include "agent/mappings/mapping_exchange.hpp"
#include "common/tls/peer_identity.hpp"
#include "common/tunnel/relay.hpp"

namespace culvert::agent {

using protocol::Reason;

Result<void> ServerLink::on_secured(Tunnel& tunnel) {
  return check_tunnel_protocol(tunnel.tls().native());
}

void ServerLink::on_greeted(Tunnel&, const protocol::Hello&) {}

void ServerLink::on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) {
  // drain() may have come before the greeting.
  if (!tunnel.is_draining())
    context_.directory.add(server_.name, {tunnel.id(), tunnel.plane().worker().index(), tunnel.load()});
  LinkPolicy::Welcome received{welcome.replica, welcome.replicas, tunnel.socket().tcp_round_trip(),
                               tunnel.socket().tls_round_trip()};
  const bool can_renew = protocol::has_capability(welcome.capabilities, protocol::renew_capability);
  Arrival arrival{tunnel.id(), tunnel.peer(), std::move(received), can_renew};
  context_.planes.home().post([this, arrival = std::move(arrival)] { welcomed(arrival); });
}

/// However many lists a server sends, only one task is on its way home: it takes the latest list.
void ServerLink::on_replicas(Tunnel&, const std::vector<std::string>& names) {
  announced_.publish(std::make_shared<const std::vector<std::string>>(names));
  if (!announcing_.exchange(true)) context_.planes.home().post([this] { take_announced_replicas(); });
}

void ServerLink::on_congested(Tunnel&) {
  context_.planes.home().post([this] { widen(); });
}

void ServerLink::on_opened(Tunnel& tunnel, Stream stream, const protocol::Open& open) {
  DataPlane& plane = tunnel.plane();
  const WorkerTools& tools = context_.tools[plane.worker().index()];
  const auto mappings = context_.mappings.get();
  switch (open.kind) {
    case protocol::Open::Kind::host: {
      const auto target = mappings->find(server_.name, open.name, open.port, open.kind);
      if (!target) return refuse(std::move(stream), open, target.error());
      return Relay::dial(plane, std::move(stream), *tools.dialer, *target, open.dial_time_max, quota_, context_.limits);
    }
    case protocol::Open::Kind::http: {
      auto target = mappings->find_http(server_.name, open.name, open.port);
      if (!target) return refuse(std::move(stream), open, target.error());
      auto pool = open.bond == 0 ? tools.pool : tools.bonds->find(plane.worker(), tunnel.id(), open.bond);
      return MappingExchange::start(
          plane, {*tools.dialer, std::move(pool), context_.log}, std::move(stream),
          {{open.name, open.port}, std::move(*target), open.dial_time_max, quota_, context_.limits});
    }
    case protocol::Open::Kind::bond: return tools.bonds->open(plane, tunnel.id(), std::move(stream));
    case protocol::Open::Kind::service: break;
  }
  stream.reject({Reason::kind_unknown, false, "an agent leads to virtual hosts only"});
}

void ServerLink::refuse(Stream stream, const protocol::Open& open, SystemMappings::Miss why) {
  if (why == SystemMappings::Miss::speaks_http)
    return stream.reject({Reason::speaks_http, false, "this virtual host speaks HTTP: use http://"});
  context_.log.limited(Log::Level::warn, "mapping.not_exposed",
                       {{"server", server_.name},
                        {"virtual_host", open.name},
                        {"port", open.port},
                        {"hint", "no system_mapping of this server exposes it"}});
  stream.reject({Reason::not_exposed, false, "the agent does not expose this virtual host"});
}

void ServerLink::on_renew_answered(Tunnel& tunnel, protocol::Enrolled& answer) {
  context_.planes.home().post([this, id = tunnel.id(), answer = std::move(answer)] {
    const auto asked = asked_.find(id);
    if (asked == asked_.end()) return;
    const RenewalAnswer done = std::move(asked->second);
    asked_.erase(asked);
    done(answer);
  });
}

void ServerLink::on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) {
  context_.directory.remove(server_.name, tunnel.id());
  context_.planes.home().post([this, id = tunnel.id(), delay] { draining(id, delay); });
}

void ServerLink::on_closed(Tunnel& tunnel, const Error& why) {
  context_.directory.remove(server_.name, tunnel.id());
  context_.planes.home().post([this, id = tunnel.id(), why] { closed(id, why); });
}

}  // namespace culvert::agent
