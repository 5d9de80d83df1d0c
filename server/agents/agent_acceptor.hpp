// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/admin/log.hpp"
#include "common/base/guarded.hpp"
#include "common/base/snapshot.hpp"
#include "common/ports/listener.hpp"
#include "common/tls/peer_identity.hpp"
#include "common/tls/tls_context.hpp"
#include "common/tunnel/tunnel.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "common/upstream/target_dialer.hpp"
#include "server/agents/agent_directory.hpp"
#include "server/agents/service_mappings.hpp"
#include "server/agents/unproven_connections.hpp"
#include "server/enrolment/enrolment.hpp"

namespace culvert::server {

/// The part of the configuration that applies to tunnels. A reload replaces it.
struct TunnelPolicy {
  TlsContext tls;
  std::string trust_domain;
  Denials denials;
  LinkLimits limits;
  std::string congestion_control;
  std::uint32_t tunnels_per_agent_max = 64;
  /// Of a server that enrols agents.
  struct Enrolling {
    std::vector<Sha256> authorities;  ///< Digests of the keys of authorities whose certificates it has given out.
    bool required = false;            ///< Certificates from elsewhere are refused.
  };
  std::optional<Enrolling> enrolling;
};

/// Accepts agents: makes a tunnel of each TCP connection, checks its identity and adds it to the directory, and decides
/// about each stream that an agent opens. Owned at home; as a TunnelOwner it is called on each tunnel's worker.
class AgentAcceptor final : public TunnelOwner {
 public:
  AgentAcceptor(DataPlanes& planes, TunnelDirectory& directory, Log& log, std::shared_ptr<const TunnelPolicy> policy,
                std::shared_ptr<const ServiceMappings> mappings);
  ~AgentAcceptor();

  /// Answers agents that ask for a certificate; must outlive this. Before listen().
  void set_enrolment(Enrolment& enrolment) { enrolment_ = &enrolment; }
  /// Sets which agents may connect, and closes the tunnels of all others. At home.
  void change_enrolled(std::shared_ptr<const EnrolledAgents> agents);
  /// Asks agents whose certificates have ended to leave, and ends their tunnels. Call it now and then. At home.
  void look_for_ended_certificates();

  /// Binds the tunnel listener. Errors: those of address_to_listen() and Listener::open().
  Result<void> listen(const Endpoint& address);
  /// Applies the policy to new tunnels and streams, and closes tunnels of denied identities.
  void change(const std::shared_ptr<const TunnelPolicy>& policy);
  /// Applies to new streams at once, and costs workers and tunnels nothing. From any thread.
  void change_mappings(std::shared_ptr<const ServiceMappings> mappings) { mappings_.publish(std::move(mappings)); }
  /// Sets the name of this replica and the names of all that are ready, and sends them to every agent; at most
  /// protocol::replicas_max, which always include `own`. With an empty `own` no names are sent. At home.
  void set_replicas(std::string own, std::vector<std::string> all);
  /// Accepts no more agents, and asks the connected ones to leave within `delay`.
  void drain(std::chrono::milliseconds delay);
  /// Closes every tunnel and aborts dials; calls `done` at home when all are over.
  void stop(const std::function<void()>& done);

  /// Returns the identity of a tunnel's agent; nullptr before the handshake is done. On the tunnel's worker.
  const AgentIdentity* identity_of(const Tunnel& tunnel) const;
  /// At home.
  std::vector<AgentDirectory::Connected> connected() const { return agents_.connected(); }
  std::uint64_t refused_handshakes() const { return refused_.load(std::memory_order_relaxed); }
  /// Connections that the other side closed without a byte.
  std::uint64_t probes() const { return probes_.load(std::memory_order_relaxed); }

 private:
  // TunnelOwner
  Result<void> on_secured(Tunnel& tunnel) override;
  void on_greeted(Tunnel& tunnel, const protocol::Hello& hello) override;
  void on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) override;
  void on_opened(Tunnel& tunnel, Stream stream, const protocol::Open& open) override;
  void on_congested(Tunnel& tunnel) override;
  void on_replicas(Tunnel&, const std::vector<std::string>&) override {}
  void on_join_asked(Tunnel& tunnel, protocol::Join& join) override;
  void on_renew_asked(Tunnel& tunnel, protocol::Renew& renew) override;
  void on_renew_answered(Tunnel&, protocol::Enrolled&) override {}
  void on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) override;
  void on_closed(Tunnel& tunnel, const Error& why) override;

  void accept(UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer);
  /// Counts the tunnel as unproven no longer, if it was. On the plane's worker.
  void leave_unproven(DataPlane& plane, TunnelId tunnel);
  void join(const AgentIdentity& identity, const protocol::Hello& hello, TunnelRef ref);
  /// Returns what counts the memory of an account's streams. At home.
  std::shared_ptr<MemoryHolder> memory_of(const std::string& account);
  /// What a tunnel holds of shares while it lives: its link's, and its account's.
  struct Shares {
    LinkQuota link;
    SharePermit descriptor;
    std::shared_ptr<MemoryHolder> memory;
  };
  void publish(TunnelRef ref, const Shares& shares);
  void welcome(TunnelRef ref);
  void refuse(Stream stream, const AgentIdentity& identity, const std::string& service_id, ServiceMappings::Miss why);
  void close_at(TunnelRef ref, protocol::Reason reason, std::string text);
  /// Why an agent may not connect, or stay connected.
  struct Refused {
    protocol::Reason reason;
    const char* text;
  };
  std::optional<Refused> refused_now(const TunnelPolicy& policy, const AgentIdentity& identity, bool issued_here) const;
  /// Closes the tunnels of one worker whose agents may not connect any more.
  void close_refused(DataPlane& plane);
  void renew_late(Tunnel& tunnel, protocol::Renew renew);
  Enrolment::Answer answer_to(const Tunnel& tunnel);

  struct Known {
    AgentIdentity identity;
    bool issued_here = false;  ///< Its certificate is one that this server, or another replica, has given out.
    boost::asio::ip::address source;
    bool offers_renewal = false;  ///< The capability "renew" of its HELLO.
    bool offers_heads = false;    ///< The capability "heads" of its HELLO.
    bool listed = false;
    bool welcomed = false;
    bool has_ended = false;  ///< Its certificate has, and it was asked to leave.
    Shares shares;           ///< Once it is listed.
  };
  struct Replicas {
    std::string own;
    std::vector<std::string> all;  ///< Sorted, without duplicates; `own` is last.
    friend bool operator==(const Replicas&, const Replicas&) = default;
  };
  /// The part of one worker.
  struct Local {
    std::unique_ptr<TargetDialer> dialer;
    std::unordered_map<TunnelId, Known> known;
    std::unordered_map<TunnelId, boost::asio::ip::address> unproven;  ///< Sources of tunnels not welcomed yet.
    std::unordered_map<TunnelId, boost::asio::ip::address> joining;   ///< Sources of join connections.
  };

  DataPlanes& planes_;
  TunnelDirectory& directory_;
  Log& log_;
  Snapshot<TunnelPolicy> policy_;
  Snapshot<EnrolledAgents> enrolled_{nullptr};  ///< Until they are known.
  Enrolment* enrolment_ = nullptr;              ///< Used at home.
  Snapshot<ServiceMappings> mappings_;          ///< Apart from the policy: in a cluster they change often.
  Snapshot<Replicas> replicas_{std::make_shared<const Replicas>()};
  protocol::InstanceId instance_;
  std::vector<Local> locals_;
  AgentDirectory agents_;  ///< Used at home only.
  std::unique_ptr<Listener> listener_;
  std::atomic<std::size_t> next_plane_{0};
  Guarded<UnprovenConnections> unproven_;
  std::shared_ptr<FairQuota> descriptors_;  ///< For the tunnels and the streams of each account.
  /// Of each account, until its last tunnel has ended. At home.
  std::map<std::string, std::weak_ptr<MemoryHolder>> memory_;
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> probes_{0};
  std::atomic<bool> leaving_{false};  ///< Draining or stopping: no new agents.
};

}  // namespace culvert::server
