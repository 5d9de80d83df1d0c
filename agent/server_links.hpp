// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "agent/server_link.hpp"

namespace culvert::agent {

/// For whoever scrapes, on any thread.
struct ReplicaCounts {
  std::atomic<std::uint32_t> known{0};
  std::atomic<std::uint32_t> reached{0};  ///< At least one tunnel is up.
};

/// One [[server]]: a link to each of its replicas (SPEC 8.5), one alone where it has no names. The first link reaches
/// whoever answers; of the others its replica tells. Owned at home, where all of it runs.
class ServerLinks {
 public:
  ServerLinks(const LinkSurroundings& surroundings, Server server, TlsContext tls);

  /// Before start(): these links take the place of those of `older` in the same process, whose tunnels live on for a
  /// while. To a replica both are one link, so none of ours may look like a redial of one of its.
  void succeed(const ServerLinks& older);
  void start();
  /// A new certificate, for the tunnels from now on.
  void change(const Server& server, const TlsContext& tls);
  /// Whether these settings mean these links: the same server, dialled in the same way as the same identity. The files
  /// of the certificate may be others.
  bool is_for(const Server& server, const TlsContext& tls) const;
  /// As ServerLink, all of them.
  void drain();
  void close_when_empty();
  void stop();
  bool is_over() const;

  const Server& server() const { return server_; }
  std::shared_ptr<const ReplicaCounts> counts() const { return counts_; }
  std::uint32_t tunnels_wanted() const;
  std::size_t tunnels_up() const;
  struct Replica {
    std::string name;
    std::size_t tunnels_up;
    std::string last_error;
  };
  struct Status {
    std::string last_error;  ///< Of the first that has one.
    std::vector<Replica> replicas;
    std::vector<TunnelId> tunnels;  ///< Those that only end here, too.
  };
  Status status() const;

 private:
  boost::asio::awaitable<void> follow();
  void note_news();
  void reconcile();
  void begin_anew();
  ServerLink* find(const std::string& replica) const;
  ServerLink& make(const std::string& replica);
  void retire(std::unique_ptr<ServerLink> link);

  const LinkSurroundings around_;
  Server server_;
  TlsContext tls_;
  std::vector<std::unique_ptr<ServerLink>> links_;    ///< Never two of one name.
  std::vector<std::unique_ptr<ServerLink>> retired_;  ///< Their last tunnels are ending.
  std::shared_ptr<ReplicaCounts> counts_ = std::make_shared<ReplicaCounts>();
  bool has_news_ = false;
  Event news_;
  TaskGroup tasks_;
};

}  // namespace culvert::agent
