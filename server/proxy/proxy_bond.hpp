// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/net/resident.hpp"
#include "common/tunnel/bond_end.hpp"
#include "common/tunnel/stream_opener.hpp"

namespace culvert::server {

/// The server's side of a bond: while its stream is open, the agent keeps back-end connections that only one client's
/// requests use.
class ProxyBond final : public BondEnd {
 public:
  explicit ProxyBond(Tunnel& tunnel);

  /// Returns 0 if the tunnel can open no stream now.
  protocol::StreamId open(Tunnel& tunnel);

 private:
  void on_tick(protocol::Time now) override;

  const TunnelId tunnel_;
};

/// All bonds of one client, at most one on a tunnel. Made when the client first sends a login that belongs to a
/// connection; moves with the client from worker to worker. The destructor ends the bonds.
class ProxyBonds {
 public:
  ProxyBonds() = default;
  ProxyBonds(const ProxyBonds&) = delete;
  ProxyBonds& operator=(const ProxyBonds&) = delete;
  ~ProxyBonds();

  /// Returns the tunnel that requests of this route must use to find the client's own connections again.
  std::optional<StreamOpener::Preferred> tunnel_of(const std::string& route) const;
  /// Returns the stream of the bond on this tunnel, which is opened if there is none; 0 if it cannot be. Call it on the
  /// tunnel's worker.
  protocol::StreamId on(Tunnel& tunnel, const std::string& route);

 private:
  struct Entry {
    std::string route;
    TunnelId tunnel;
    DataPlane* plane;
    Handle<ProxyBond> bond;
    protocol::StreamId stream;
  };
  std::vector<Entry> entries_;
};

}  // namespace culvert::server
