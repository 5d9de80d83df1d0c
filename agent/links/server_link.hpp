// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "agent/config/config.hpp"
#include "agent/links/link_policy.hpp"
#include "agent/links/server_dialer.hpp"
#include "agent/mappings/bond.hpp"
#include "agent/mappings/system_mappings.hpp"
#include "common/admin/log.hpp"
#include "common/base/snapshot.hpp"
#include "common/net/task_group.hpp"
#include "common/tls/tls_context.hpp"
#include "common/tunnel/data_planes.hpp"
#include "common/tunnel/tunnel.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "common/upstream/back_end.hpp"
#include "common/upstream/target_dialer.hpp"

namespace culvert::agent {

/// What leads one worker's streams to targets.
struct WorkerTools {
  std::unique_ptr<TargetDialer> dialer;
  std::shared_ptr<BackEndPool> pool;
  std::unique_ptr<BondTable> bonds;
};

/// What all links of the process share. Outlives them.
struct LinkContext {
  DataPlanes& planes;
  TunnelDirectory& directory;
  Log& log;
  protocol::InstanceId instance;
  const std::vector<WorkerTools>& tools;  ///< One per worker.
  const Snapshot<SystemMappings>& mappings;
  LinkLimits limits;
  std::shared_ptr<FairQuota> descriptors;  ///< For the targets of each server's streams.
  Offload& offload;
};

/// The agent's link to one replica of a server: keeps its tunnels up as LinkPolicy decides, until it is drained, and
/// decides what the server's streams may reach. Owned at home, where its coroutines run; the calls of TunnelOwner come
/// on each tunnel's worker, and what they report is posted home.
class ServerLink final : public TunnelOwner {
 public:
  /// `replica` is the name of the one to reach. Empty accepts any, whose name this link then takes, or a server without
  /// a name. `memory` counts what the server's streams have, `quick_tries` the tries of all its links. `on_change` is
  /// called at home when tunnels came up or ended, or the replica announced others; not after drain().
  ServerLink(const LinkContext& context, Server server, TlsContext tls, std::string replica,
             std::shared_ptr<MemoryHolder> memory, QuickTries& quick_tries, std::function<void()> on_change);

  /// Before start(): this link replaces `older` in the same process (LinkPolicy::succeed).
  void succeed(const ServerLink& older) { policy_.succeed(older.policy_); }
  /// Before start(): this link replaces `older`, which has given up (LinkPolicy::continue_backoff).
  void continue_backoff(const ServerLink& older) { policy_.continue_backoff(older.policy_); }
  void start();
  /// Tunnels that begin from now on use the new certificate.
  void change(const Server& server, const TlsContext& tls);
  /// Replaces the tunnels that are up, each once its successor is, so that all use the certificate in force.
  void replace_tunnels();
  /// Asks for the next certificate through a tunnel that is up. `answer` is called at home, or never if the tunnel ends
  /// before. False: there is no tunnel to a server that can answer.
  using RenewalAnswer = std::function<void(protocol::Enrolled)>;
  bool ask_to_renew(const protocol::Renew& request, const RenewalAnswer& answer);
  void set_quick_tries_max(std::uint32_t tries) { policy_.set_quick_tries_max(tries); }
  /// Dials no more and asks the server to open no new streams.
  void drain();
  /// After drain(): each tunnel closes once its streams have ended. The tunnel's own worker decides, so that it either
  /// sees a stream that the server has just opened, or the server may try that stream elsewhere.
  void close_when_empty();
  /// Drains, closes the tunnels and ends the coroutines. Wait until is_over() before the destruction.
  void stop();
  bool is_over() const { return policy_.is_draining() && dials_.size() == 0 && tunnels_.empty(); }

  const std::string& replica() const { return policy_.replica(); }
  const std::vector<std::string>& announced_replicas() const { return policy_.announced_replicas(); }
  /// Other replicas answered so often that this one may not exist.
  bool has_given_up() const { return policy_.has_given_up(); }
  std::uint32_t tunnels_wanted() const { return policy_.tunnels_wanted(); }
  std::size_t tunnels_up() const { return policy_.tunnels_up(); }
  struct Status {
    std::string last_error;
    std::vector<TunnelId> tunnels;
  };
  Status status() const;

 private:
  // ---- TunnelOwner, on the tunnel's worker
  Result<void> on_secured(Tunnel& tunnel) override;
  void on_greeted(Tunnel& tunnel, const protocol::Hello& hello) override;
  void on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) override;
  void on_opened(Tunnel& tunnel, Stream stream, const protocol::Open& open) override;
  void on_congested(Tunnel& tunnel) override;
  void on_replicas(Tunnel& tunnel, const std::vector<std::string>& names) override;
  void on_join_asked(Tunnel&, protocol::Join&) override {}
  void on_renew_asked(Tunnel&, protocol::Renew&) override {}
  void on_renew_answered(Tunnel& tunnel, protocol::Enrolled& answer) override;
  void on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) override;
  void on_closed(Tunnel& tunnel, const Error& why) override;

  void refuse(Stream stream, const protocol::Open& open, SystemMappings::Miss why);

  // ---- at home
  /// A tunnel that was welcomed, and by which peer.
  struct Arrival {
    TunnelId id;
    std::string peer;
    LinkPolicy::Welcome welcome;
    bool can_renew;
  };
  void welcomed(const Arrival& arrival);
  void take_announced_replicas();
  void widen();
  void draining(TunnelId id, std::chrono::milliseconds delay);
  void closed(TunnelId id, const Error& why);

  void carry_out(const LinkPolicy::Decision& decision);
  boost::asio::awaitable<void> dial(LinkPolicy::Dial order);
  Result<void> begin(LinkPolicy::KeeperId keeper, DialedSocket dialed);
  void log_end(LinkPolicy::LogLine line, TunnelId id, const Error& why);
  void log_failure(LinkPolicy::LogLine line, const Error& why);
  void ask_to_drain(TunnelId id);
  void leave(TunnelId id);
  void on_its_worker(TunnelId id, std::function<void(Tunnel&)> task);

  const LinkContext context_;
  Server server_;
  const LinkQuota quota_;
  const std::shared_ptr<MemoryHolder> memory_;
  TlsContext tls_;
  ServerDialer dialer_;
  LinkPolicy policy_;
  std::function<void()> on_change_;
  std::map<TunnelId, DataPlane*> tunnels_;   ///< Where each tunnel lives, until it has ended.
  std::set<TunnelId> renewing_;              ///< Those whose server can give out certificates.
  std::map<TunnelId, RenewalAnswer> asked_;  ///< RENEWs without an answer yet.
  std::size_t next_plane_ = 0;
  Snapshot<std::vector<std::string>> announced_{nullptr};  ///< The last REPLICAS.
  std::atomic<bool> announcing_{false};                    ///< A task that takes `announced_` is on its way home.
  TaskGroup dials_;
};

}  // namespace culvert::agent
