// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/admin/log.hpp"
#include "common/base/snapshot.hpp"
#include "common/net/listener.hpp"
#include "common/tls/peer_identity.hpp"
#include "common/tls/tls_context.hpp"
#include "common/tunnel/stream_acceptor.hpp"
#include "common/tunnel/tunnel.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "server/agent_directory.hpp"
#include "server/service_mappings.hpp"

namespace culvert::server {

/// What a reload changes for the tunnels from now on.
struct TunnelPolicy {
  TlsContext tls;
  std::string trust_domain;
  Denials denials;
  ServiceMappings mappings;
  StreamAcceptor::Limits limits;
  std::string congestion_control;
};

/// The door for agents: from a TCP connection to a tunnel with a proven identity that stands in the directory, and the
/// decision on every stream that an agent opens. Owned at home; as a TunnelOwner it is called on each tunnel's worker.
class AgentAcceptor final : public TunnelOwner {
 public:
  AgentAcceptor(DataPlanes& planes, TunnelDirectory& directory, Log& log, std::shared_ptr<const TunnelPolicy> policy);
  ~AgentAcceptor();

  /// Binds the tunnel listener. Errors: the listener's.
  Result<void> listen(const Endpoint& address);
  /// For new tunnels and streams at once; live tunnels of denied identities end now.
  void change(const std::shared_ptr<const TunnelPolicy>& policy);
  /// This process's name among the server's replicas, and those that are ready, as every agent is told from now on; at
  /// most protocol::replicas_max, `own` among them in any case. Empty `own`: it has no name, and tells of nobody. At
  /// home.
  void set_replicas(std::string own, std::vector<std::string> all);
  /// Accepts no more agents and asks those who are here to leave within `delay`.
  void drain(std::chrono::milliseconds delay);
  /// Closes every tunnel and ends the dials; `done` at home when all is over.
  void stop(const std::function<void()>& done);

  /// What `status` adds to a tunnel. On the tunnel's worker; nullptr before the handshake is done.
  const AgentIdentity* identity_of(const Tunnel& tunnel) const;
  std::uint64_t refused_handshakes() const { return refused_.load(std::memory_order_relaxed); }

 private:
  // TunnelOwner
  Result<void> on_secured(Tunnel& tunnel) override;
  void on_greeted(Tunnel& tunnel, const protocol::Hello& hello) override;
  void on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) override;
  void on_opened(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open) override;
  void on_congested(Tunnel& tunnel) override;
  void on_replicas(Tunnel&, const std::vector<std::string>&) override {}
  void on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) override;
  void on_closed(Tunnel& tunnel, const Error& why) override;

  void take(UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer);
  void join(const AgentIdentity& identity, const protocol::Hello& hello, TunnelPlace place);
  void close_at(TunnelPlace place, protocol::Reason reason, std::string text);

  struct Known {
    AgentIdentity identity;
    bool listed = false;
    LinkQuota quota;  ///< The link's, once it is listed.
  };
  struct Replicas {
    std::string own;
    std::vector<std::string> all;  ///< In an order that does not depend on how they came; none twice.
    friend bool operator==(const Replicas&, const Replicas&) = default;
  };
  /// One worker's part.
  struct Local {
    std::unique_ptr<StreamAcceptor> streams;
    std::unordered_map<TunnelId, Known> known;
  };

  DataPlanes& planes_;
  TunnelDirectory& directory_;
  Log& log_;
  Snapshot<TunnelPolicy> policy_;
  Snapshot<Replicas> replicas_{std::make_shared<const Replicas>()};
  protocol::InstanceId instance_;
  std::vector<Local> locals_;
  AgentDirectory agents_;  ///< At home.
  std::unique_ptr<Listener> listener_;
  std::atomic<std::size_t> next_plane_{0};
  std::atomic<std::uint32_t> greeting_{0};  ///< Tunnels that have not proved anything yet.
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<bool> leaving_{false};  ///< Draining or stopping: nobody new.
};

}  // namespace culvert::server
