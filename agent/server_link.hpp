// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
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

/// The agent's link to one server: keeps so many tunnels up, for ever, and decides what the server's streams may reach.
/// Owned at home, where its coroutines run; as a TunnelOwner it is called on each tunnel's worker and passes the news
/// home.
class ServerLink final : public TunnelOwner {
 public:
  ServerLink(const LinkSurroundings& surroundings, Server server, TlsContext tls);
  ~ServerLink();

  /// Before start(): this link takes the place of `older` in the same process, whose tunnels live on for a while. To
  /// the server both are one link, so none of ours may look like a redial of one of its.
  void succeed(const ServerLink& older);
  void start();
  /// A new certificate, for the tunnels from now on.
  void change(const Server& server, const TlsContext& tls);
  /// Whether these settings mean this link: the same server, dialled in the same way as the same identity. The files of
  /// the certificate may be others.
  bool is_for(const Server& server, const TlsContext& tls) const;
  /// Dials no more and tells the server to open nothing new.
  void drain();
  /// After drain(): each tunnel closes once its streams have ended. Its own worker decides, so that a stream which the
  /// server opened meanwhile is either seen or can be tried elsewhere.
  void close_when_empty();
  /// After drain(): closes the tunnels and ends the coroutines. Wait until is_over() before it ends.
  void stop();
  bool is_over() const { return stopped_ && keepers_.size() == 0 && tunnels_.empty(); }

  const Server& server() const { return server_; }
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
  void on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) override;
  void on_closed(Tunnel& tunnel, const Error& why) override;

  void open_exchange(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open);
  void refuse(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open, SystemMappings::Refusal why);
  boost::asio::awaitable<void> keep();
  boost::asio::awaitable<void> pause(std::chrono::milliseconds time);
  boost::asio::awaitable<Result<DialedSocket>> reach();
  bool is_behind_proxy() const;
  void spawn_keepers();
  Result<TunnelId> begin(DialedSocket dialed);
  std::uint32_t free_slot() const;
  void note_failure(const Error& error);

  /// How far away the server is, by two measures (Tunnel).
  struct RoundTrips {
    std::chrono::microseconds tcp;
    std::chrono::microseconds tls;
  };
  void welcomed(TunnelId id, const std::string& peer, RoundTrips round_trips);
  void widen();
  void draining(TunnelId id, std::chrono::milliseconds delay);
  void closed(TunnelId id, const Error& why);

  const LinkSurroundings around_;
  Server server_;
  const LinkQuota quota_;
  TlsContext tls_;
  Dialer dialer_;
  std::map<TunnelId, Known> tunnels_;
  std::uint64_t epoch_ = 1;
  std::uint32_t first_slot_ = 0;
  bool was_up_ = false;  ///< In this epoch.
  std::size_t next_plane_ = 0;
  std::uint32_t wanted_;       ///< Tunnels: tunnels_min, more where it is far or congested, until the link is lost.
  std::uint32_t keeping_ = 0;  ///< Keepers at work.
  std::chrono::steady_clock::time_point widened_;
  std::string last_error_;
  std::string last_code_;
  bool draining_ = false;
  bool stopped_ = false;
  Event changed_;
  TaskGroup keepers_;
};

}  // namespace culvert::agent
