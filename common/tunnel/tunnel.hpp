// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/net/poller.hpp"
#include "common/net/tcp_progress.hpp"
#include "common/net/unique_fd.hpp"
#include "common/net/worker.hpp"
#include "common/tls/tls_engine.hpp"
#include "common/tunnel/data_plane.hpp"
#include "protocol/session.hpp"

namespace culvert {

class Tunnel;

/// Who decides about a tunnel: the server's agent acceptor, the agent's link to a server. Called on the tunnel's
/// worker; outlives the tunnel.
class TunnelOwner {
 public:
  /// The TLS handshake is done: is the peer who it must be? An error ends the tunnel.
  virtual Result<void> on_secured(Tunnel& tunnel) = 0;
  /// Server: answer with welcome() or close(), now or later.
  virtual void on_greeted(Tunnel& tunnel, const protocol::Hello& hello) = 0;
  /// Agent: streams may be opened.
  virtual void on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) = 0;
  /// The peer wants a stream: attach(), then accept(), or reject().
  virtual void on_opened(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open) = 0;
  /// Congestion limits what one of the two sides sends here: another tunnel in the link would help.
  virtual void on_congested(Tunnel& tunnel) = 0;
  /// Agent: the server's replicas that are ready now.
  virtual void on_replicas(Tunnel& tunnel, const std::vector<std::string>& names) = 0;
  /// No new streams here from now on: the peer said so, or ids ran out.
  virtual void on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) = 0;
  /// The last call: why it ended. Every stream on it has ended.
  virtual void on_closed(Tunnel& tunnel, const Error& why) = 0;

 protected:
  ~TunnelOwner() = default;
};

/// What pickers on other workers read, written by the tunnel's own with relaxed stores.
struct TunnelLoad {
  std::atomic<std::uint32_t> streams{0};       ///< A picker adds the one that it places, until the tunnel knows it.
  std::atomic<std::uint64_t> queued_bytes{0};  ///< Sealed, and refused by the kernel so far.
  std::atomic<std::int64_t> round_trip_us{0};  ///< The last PING's, which waits behind bulk as a small answer does.
  std::atomic<std::uint64_t> recent_bytes{0};  ///< Carried, both ways, in the last second or two.
  std::atomic<std::int64_t> last_received_us{
      0};  ///< When a byte came last: a tunnel that is silent for long may be dead already.
};

/// What `status` shows of one tunnel.
struct TunnelStatus {
  TunnelId id;
  std::string state;  ///< handshaking, greeting, up, draining, closing
  std::string peer;
  std::optional<protocol::Time> round_trip;
  std::size_t streams;
  std::uint64_t bytes_in;
  std::uint64_t bytes_out;
  std::chrono::steady_clock::time_point since;
};

/// One tunnel: the only place where a session, a TLS engine and a socket meet. From the accepted or dialled TCP
/// connection on: handshake, greeting, streams, drain, close. Pulls from its streams' ends only when it can send, and
/// always reads. Owned by its DataPlane, pinned to its worker.
class Tunnel final : public Pollable, public TurnEnd {
 public:
  struct Setup {
    TunnelId id;
    UniqueFd fd;  ///< Connected, non-blocking.
    UniqueSsl ssl;
    protocol::SessionOptions session;
    std::string peer;                ///< Its address, for people.
    std::string congestion_control;  ///< Asked of the kernel; empty: as the system has it.
    std::uint64_t key_update_bytes = TlsEngine::key_update_bytes_default;
  };
  Tunnel(DataPlane& plane, Setup setup, TunnelOwner& owner);
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;
  ~Tunnel();

  TunnelId id() const { return id_; }
  const std::string& peer() const { return peer_; }
  DataPlane& plane() { return plane_; }
  const TlsEngine& tls() const { return engine_; }
  const std::shared_ptr<TunnelLoad>& load() const { return load_; }
  /// How far away the other end of the TCP connection is: the least round trip that the kernel saw.
  std::chrono::microseconds tcp_round_trip() const;
  /// How long our first TLS message took to be answered: the whole way, where a proxy stands between.
  std::chrono::microseconds tls_round_trip() const { return tls_round_trip_; }
  TunnelStatus status() const;

  /// Called once by the DataPlane.
  void start();
  void on_tick(protocol::Time now);

  // ---- the tunnel
  void welcome(const protocol::Welcome& message);
  void drain(protocol::Reason reason, std::chrono::milliseconds delay);
  /// Server: asks the agent for another tunnel beside this one.
  void ask_to_widen();
  /// Server: tells the agent which replicas are ready now.
  void tell_replicas(std::vector<std::string> names);
  /// Ends it: GOAWAY(final), close_notify, close. Its streams are reset at once.
  void close(protocol::Reason reason, std::string text);
  bool may_open() const { return state_ == State::running && session_.may_open(); }
  std::size_t streams() const { return session_.streams(); }
  bool knows(protocol::StreamId stream) { return session_.knows(stream); }
  std::uint64_t window_bytes() const { return session_.window_bytes(); }
  /// False when it is idle.
  bool holds_buffer() const { return output_ != nullptr; }

  // ---- streams; those that name one that is gone do nothing
  /// nullopt: not now, not here.
  std::optional<protocol::StreamId> open(const protocol::Open& message, StreamEnd& end);
  void attach(protocol::StreamId stream, StreamEnd& end);
  void accept(protocol::StreamId stream);
  void reject(protocol::StreamId stream, const protocol::Reject& reject);
  void send_head(protocol::StreamId stream, std::vector<std::byte> message);
  void set_readable(protocol::StreamId stream);
  void take(protocol::StreamId stream, std::size_t bytes);
  void reset(protocol::StreamId stream, protocol::Reason reason);

 private:
  enum class State : std::uint8_t { handshaking, running, closing, closed };

  void on_ready(std::uint32_t events) override;
  void on_turn_end() override;
  void touch();

  void shake_hands();
  void receive();
  bool feed(std::span<const std::byte> ciphertext);
  void handle_events();
  void handle(protocol::Event& event);
  void gather(const protocol::Data& data);
  bool deliver_data();
  void begin_stream(std::uint64_t window_bytes);
  void end_stream(const protocol::Forgotten& forgotten);
  void grow_window(const protocol::WindowWanted& wanted);

  void send();
  std::size_t fill(std::span<std::byte> staging);
  bool flush();
  bool has_room();
  SendBuffer& output();
  void give_back_output();
  void begin_second(protocol::Time now);
  std::uint64_t rate_out() const;
  std::size_t batch_bytes() const;
  void begin_closing(const Error& why);
  void fail(Error why);
  void finish();
  void publish_load();

  DataPlane& plane_;
  TunnelOwner& owner_;
  const TunnelId id_;
  const std::string peer_;
  UniqueFd fd_;
  TlsEngine engine_;
  protocol::Session session_;
  std::shared_ptr<TunnelLoad> load_;
  std::unique_ptr<SendBuffer> output_;  ///< Present only while there is something in it.

  /// Data that waits for the next event to say whether more of the same stream follows.
  struct Gathered {
    void* user = nullptr;
    std::array<std::span<const std::byte>, StreamEnd::pieces_max> pieces{};
    std::size_t count = 0;
  };
  Gathered gathered_;

  State state_ = State::handshaking;
  Error why_;
  bool readable_ = false;
  bool writable_ = true;
  bool hangup_ = false;
  bool touched_ = false;
  bool more_waits_ = false;  ///< The last batch was full.
  bool sent_shutdown_ = false;
  int closing_ticks_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  /// The second (more or less) under way, and what the one before it carried: what is recent follows from both.
  struct Second {
    protocol::Time began{0};
    std::uint64_t began_in = 0;
    std::uint64_t began_out = 0;
    std::uint64_t last_in = 0;
    std::uint64_t last_out = 0;
  };
  Second second_;
  int notsent_bytes_;
  int refused_for_seconds_ = 0;  ///< The kernel had no room in this second, or the one before.
  CongestionWatch congestion_;
  std::chrono::microseconds tls_round_trip_{0};
  std::chrono::steady_clock::time_point since_;
};

/// Closes every tunnel of the worker. On it.
void close_all(DataPlane& plane, protocol::Reason reason, const std::string& text);

}  // namespace culvert
