// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "agent/back_end.hpp"
#include "agent/config.hpp"
#include "agent/system_mappings.hpp"
#include "common/admin/log.hpp"
#include "common/base/backoff.hpp"
#include "common/base/snapshot.hpp"
#include "common/net/dialer.hpp"
#include "common/net/event.hpp"
#include "common/net/task_group.hpp"
#include "common/tls/tls_context.hpp"
#include "common/tunnel/data_planes.hpp"
#include "common/tunnel/stream_acceptor.hpp"
#include "common/tunnel/tunnel.hpp"
#include "common/tunnel/tunnel_directory.hpp"

namespace culvert::agent {

/// What every link of the process shares. Outlives them.
struct LinkSurroundings {
  DataPlanes& planes;
  TunnelDirectory& directory;
  Log& log;
  protocol::InstanceId instance;
  std::vector<std::unique_ptr<StreamAcceptor>>& acceptors;  ///< One per worker.
  std::vector<std::unique_ptr<BackEndPool>>& pools;         ///< One per worker.
  const Snapshot<SystemMappings>& mappings;
  StreamAcceptor::Limits limits;
};

/// The agent's link to one replica of a server: keeps so many tunnels up, for ever, and decides what the server's
/// streams may reach. Owned at home, where its coroutines run; as a TunnelOwner it is called on each tunnel's worker
/// and passes the news home.
class ServerLink final : public TunnelOwner {
 public:
  /// `replica`: its name. Empty: whoever answers, whose name is then this link's; or a server without a name.
  /// `on_news` is called when tunnels came or went, or the replica told of others; not after drain().
  ServerLink(const LinkSurroundings& surroundings, Server server, TlsContext tls, std::string replica,
             std::function<void()> on_news);
  ~ServerLink();

  /// Before start(): this link takes the place of `older` in the same process, whose tunnels live on for a while. To
  /// the server both are one link, so none of ours may look like a redial of one of its.
  void succeed(const ServerLink& older);
  void start();
  /// A new certificate, for the tunnels from now on.
  void change(const Server& server, const TlsContext& tls);
  /// How many times in a row other replicas may answer before it is dialled less and less often.
  void set_quick_tries_max(std::uint32_t tries) { quick_tries_max_ = tries; }
  /// Dials no more and tells the server to open nothing new.
  void drain();
  /// After drain(): each tunnel closes once its streams have ended. Its own worker decides, so that a stream which the
  /// server opened meanwhile is either seen or can be tried elsewhere.
  void close_when_empty();
  /// After drain(): closes the tunnels and ends the coroutines. Wait until is_over() before it ends.
  void stop();
  bool is_over() const { return draining_ && keepers_.size() == 0 && tunnels_.empty(); }

  const std::string& replica() const { return replica_; }
  /// All replicas of the server, as this one told last.
  const std::vector<std::string>& replicas() const { return replicas_; }
  /// Other replicas answered so often that it may be gone.
  bool has_given_up() const { return misses_ >= quick_tries_max_; }
  std::uint32_t tunnels_wanted() const { return wanted_; }
  std::size_t tunnels_up() const;
  struct Status {
    std::string last_error;
    std::vector<TunnelId> tunnels;
  };
  Status status() const;

 private:
  /// One tunnel of the link as home knows it.
  struct Known {
    std::size_t plane = 0;
    std::uint32_t slot = 0;
    bool through_proxy = false;
    bool up = false;
    bool leaving = false;  ///< Draining: it lives on, but a keeper wants another one.
    std::chrono::milliseconds leave_within{0};
  };

  // TunnelOwner
  Result<void> on_secured(Tunnel& tunnel) override;
  void on_greeted(Tunnel& tunnel, const protocol::Hello& hello) override;
  void on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) override;
  void on_opened(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open) override;
  void on_congested(Tunnel& tunnel) override;
  void on_replicas(Tunnel& tunnel, const std::vector<std::string>& names) override;
  void on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) override;
  void on_closed(Tunnel& tunnel, const Error& why) override;

  void open_exchange(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open);
  void refuse(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open, SystemMappings::Refusal why);
  boost::asio::awaitable<void> keep();
  boost::asio::awaitable<void> pause(std::chrono::milliseconds time);
  boost::asio::awaitable<Result<DialedSocket>> reach();
  bool is_behind_proxy() const;
  void spawn_keepers();
  std::uint32_t keepers_wanted() const;
  Result<TunnelId> begin(DialedSocket dialed);
  std::uint32_t free_slot() const;
  void note_failure(const Error& error);
  void note_miss(const Error& error);
  std::chrono::milliseconds slow_pause() const;
  std::chrono::milliseconds pause_after_miss() const;

  /// A tunnel that was welcomed, by whom, and how far away that is by two measures (Tunnel).
  struct Arrival {
    TunnelId id;
    std::string peer;
    std::chrono::microseconds tcp_round_trip;
    std::chrono::microseconds tls_round_trip;
    std::string replica;
    std::vector<std::string> replicas;
  };
  void welcomed(const Arrival& arrival);
  void hear_replicas();
  void tell_news();
  void at(TunnelId id, const Known& known, std::function<void(Tunnel&)> task);
  void widen();
  void draining(TunnelId id, std::chrono::milliseconds delay);
  void closed(TunnelId id, const Error& why);

  const LinkSurroundings around_;
  Server server_;
  const LinkQuota quota_;
  TlsContext tls_;
  Dialer dialer_;
  std::string replica_;
  std::function<void()> on_news_;
  std::vector<std::string> replicas_;
  Snapshot<std::vector<std::string>> told_{nullptr};  ///< By REPLICAS.
  std::atomic<bool> telling_{false};                  ///< It is on its way home.
  std::uint32_t misses_ = 0;                          ///< In a row: another replica answered.
  std::uint32_t quick_tries_max_ = 3;
  bool lost_told_ = false;     ///< In the log.
  std::set<TunnelId> missed_;  ///< Tunnels that ended so; each one's keeper takes it out.
  std::map<TunnelId, Known> tunnels_;
  std::uint64_t epoch_ = 1;
  std::set<std::uint32_t> foreign_slots_;  ///< Of links in this epoch that this one has succeeded.
  bool was_up_ = false;                    ///< In this epoch.
  std::size_t next_plane_ = 0;
  std::uint32_t wanted_;       ///< Tunnels: tunnels_min, more where it is far or congested, until the link is lost.
  std::uint32_t keeping_ = 0;  ///< Keepers at work.
  std::chrono::steady_clock::time_point widened_;
  std::string last_error_;
  std::string last_code_;
  bool draining_ = false;
  Event changed_;
  TaskGroup keepers_;
};

}  // namespace culvert::agent
