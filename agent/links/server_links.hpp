// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "agent/links/server_link.hpp"
#include "common/net/event.hpp"
#include "common/net/task_group.hpp"

namespace culvert::agent {

/// For the metrics page, which any thread may collect.
struct ReplicaCounts {
  std::atomic<std::uint32_t> known{0};    ///< Replicas that have a link.
  std::atomic<std::uint32_t> reached{0};  ///< Those of them to which at least one tunnel is up.
};

/// All links of one [[server]]: one to each of its replicas (SPEC 8.5), or a single one where the server has no names.
/// The first link accepts any replica, which announces the others. decide_replicas() decides which links there are.
/// Owned at home, where all of it runs.
class ServerLinks {
 public:
  ServerLinks(const LinkContext& context, Server server, TlsContext tls);

  /// Before start(): these links replace those of `older` in the same process (LinkPolicy::succeed).
  void succeed(const ServerLinks& older);
  void start();
  /// Tunnels that begin from now on use the new certificate.
  void change(const Server& server, const TlsContext& tls);
  /// The call of the same name of each ServerLink.
  void replace_tunnels();
  /// Through the first link that can (ServerLink::ask_to_renew).
  bool ask_to_renew(const protocol::Renew& request, const ServerLink::RenewalAnswer& answer);
  /// Whether these links fit the settings: the same server, dialled in the same way as the same identity. The files of
  /// the certificate may differ.
  bool is_for(const Server& server, const TlsContext& tls) const;
  /// The calls of the same name of each ServerLink.
  void drain();
  void close_when_empty();
  void stop();
  bool is_over() const;

  const Server& server() const { return server_; }
  std::shared_ptr<const ReplicaCounts> counts() const { return counts_; }
  /// Of the certificate that new tunnels show.
  std::chrono::sys_seconds certificate_ends() const { return tls_.not_after(); }
  std::uint32_t tunnels_wanted() const;
  std::size_t tunnels_up() const;
  struct Replica {
    std::string name;
    std::size_t tunnels_up;
    std::string last_error;
  };
  struct Status {
    std::string last_error;  ///< The first link's that has one.
    std::vector<Replica> replicas;
    std::vector<TunnelId> tunnels;  ///< Includes those of retired links.
  };
  Status status() const;

 private:
  boost::asio::awaitable<void> follow();
  void on_link_changed();
  void publish_counts();
  void reconcile();
  void begin_anew();
  ServerLink* find_link(const std::string& replica) const;
  ServerLink& make_link(const std::string& replica);
  void retire(std::unique_ptr<ServerLink> link);

  const LinkContext context_;
  Server server_;
  TlsContext tls_;
  const std::shared_ptr<MemoryHolder> memory_ = std::make_shared<MemoryHolder>(context_.planes.budget());
  QuickTries quick_tries_;                            ///< Of all links, and for new ones.
  std::vector<std::unique_ptr<ServerLink>> links_;    ///< No two have the same name.
  std::vector<std::unique_ptr<ServerLink>> retired_;  ///< Until their last tunnels have ended.
  std::shared_ptr<ReplicaCounts> counts_ = std::make_shared<ReplicaCounts>();
  bool has_changed_ = false;  ///< Some link, since the last reconcile().
  Event changed_;
  TaskGroup tasks_;
};

}  // namespace culvert::agent
