// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/proxy_bond.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/tunnel/tunnel.hpp"

namespace culvert::server {

ProxyBond::ProxyBond(Tunnel& tunnel) : BondEnd(tunnel.plane()), tunnel_(tunnel.id()) {}

protocol::StreamId ProxyBond::open(Tunnel& tunnel) {
  protocol::Open open;
  open.kind = protocol::Open::Kind::bond;
  open.name = "bond";
  return tunnel.open(open, stream_, *this) ? stream_.id() : 0;
}

/// A bond must not keep a tunnel from draining: the client logs in again on another one.
void ProxyBond::on_tick(protocol::Time) {
  const Tunnel* tunnel = plane_.find_tunnel(tunnel_);
  if (tunnel == nullptr || !tunnel->may_open()) end();
}

ProxyBonds::~ProxyBonds() {
  for (const Entry& entry : entries_) {
    entry.plane->worker().post([plane = entry.plane, handle = entry.bond] {
      if (ProxyBond* bond = plane->relays().find(handle)) bond->end();
    });
  }
}

std::optional<StreamOpener::Preferred> ProxyBonds::tunnel_of(const std::string& route) const {
  const auto found = std::ranges::find(entries_, route, &Entry::route);
  if (found == entries_.end()) return std::nullopt;
  return StreamOpener::Preferred{found->tunnel, found->plane->worker().index()};
}

protocol::StreamId ProxyBonds::on(Tunnel& tunnel, const std::string& route) {
  DataPlane& plane = tunnel.plane();
  const auto found = std::ranges::find(entries_, tunnel.id(), &Entry::tunnel);
  if (found != entries_.end() && plane.relays().find(found->bond) != nullptr) return found->stream;
  if (found != entries_.end()) entries_.erase(found);
  ProxyBond& bond = plane.relays().add(std::make_unique<ProxyBond>(tunnel));
  const protocol::StreamId stream = bond.open(tunnel);
  if (stream == 0) {
    bond.end();
    return 0;
  }
  // In front: tunnel_of() finds the latest.
  entries_.insert(entries_.begin(), {route, tunnel.id(), &plane, plane.relays().handle_of(bond), stream});
  return stream;
}

}  // namespace culvert::server
