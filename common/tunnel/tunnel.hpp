// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.hpp"
#include "common/net/poller.hpp"
#include "common/net/unique_fd.hpp"
#include "common/net/worker.hpp"
#include "common/tls/tls_engine.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_delivery.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/tunnel_load.hpp"
#include "common/tunnel/tunnel_owner.hpp"
#include "common/tunnel/tunnel_socket.hpp"
#include "common/tunnel/tunnel_traffic.hpp"
#include "protocol/session.hpp"

namespace culvert {

/// One tunnel in the output of `status`.
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

/// One tunnel: a session over a TLS connection. Its life from an accepted or dialled TCP connection: handshake,
/// greeting, streams, drain, close. It pulls from the ends of its streams only when it can send, and always reads.
/// Owned by its DataPlane; stays on its worker.
class Tunnel final : public Pollable, public TurnEnd {
 public:
  struct Setup {
    TunnelId id;
    UniqueFd fd;  ///< Connected, non-blocking.
    UniqueSsl ssl;
    protocol::SessionOptions session;
    std::string peer;                ///< Address of the peer, for logs and `status`.
    std::string congestion_control;  ///< Requested from the kernel; empty: the system's default.
    std::uint64_t key_update_bytes = TlsEngine::key_update_bytes_default;
    std::shared_ptr<MemoryHolder> memory_holder = nullptr;  ///< Whom its streams' memory counts for; nullptr: nobody.
  };
  Tunnel(DataPlane& plane, Setup setup, TunnelOwner& owner);
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;
  ~Tunnel();

  TunnelId id() const { return id_; }
  const std::string& peer() const { return peer_; }
  DataPlane& plane() { return plane_; }
  const TlsEngine& tls() const { return socket_.tls(); }
  const std::shared_ptr<TunnelLoad>& load() const { return load_; }
  const TunnelSocket& socket() const { return socket_; }
  TunnelStatus status() const;

  /// Called once by the DataPlane.
  void start();
  void on_tick(protocol::Time now);

  // ---- the tunnel
  void welcome(const protocol::Welcome& message) {
    session_.welcome(message);
    touch();
  }
  void drain(protocol::Reason reason, std::chrono::milliseconds delay) {
    session_.drain(reason, delay);
    touch();
  }
  /// Server: asks the agent for another tunnel in this link.
  void ask_to_widen() {
    session_.ask_to_widen();
    touch();
  }
  /// Server: sends the agent the names of the replicas that are ready now.
  void send_replicas(std::vector<std::string> names) {
    session_.tell_replicas(std::move(names));
    touch();
  }
  /// Server, in on_secured(): this is a join connection, and never becomes a tunnel.
  void expect_join() { session_.expect_join(); }
  /// Server: answers on_join_asked() or on_renew_asked(). A join connection ends with it.
  void answer(const protocol::Enrolled& answer) {
    session_.answer(answer);
    touch();
  }
  /// Agent, welcomed by a server with the capability "renew": asks for the next certificate.
  void renew(const protocol::Renew& message) {
    session_.renew(message);
    touch();
  }
  /// Ends the tunnel: GOAWAY(final), close_notify, close. Its streams are reset at once.
  void close(protocol::Reason reason, std::string text);
  /// drain() was called.
  bool is_draining() const { return session_.is_draining(); }
  bool may_open() const { return state_ == State::running && session_.may_open(); }
  /// Server: from now on, before the first stream, its streams' memory counts for this holder.
  void set_memory_holder(std::shared_ptr<MemoryHolder> holder) { memory_holder_ = std::move(holder); }
  /// Returns whether new streams are refused, since the memory for them is used up.
  bool is_out_of_memory() const {
    return memory_holder_ ? memory_holder_->is_exhausted() : plane_.memory().is_exhausted();
  }
  /// Once its streams exist: the HEADs that the peer reads.
  protocol::HeadForm head_form() const { return session_.head_form(); }
  std::size_t streams() const { return session_.streams(); }
  std::uint64_t window_bytes() const { return session_.window_bytes(); }
  /// Returns whether it holds a send buffer; an idle tunnel does not.
  bool holds_buffer() const { return socket_.holds_buffer(); }

  /// Returns the streams with bytes that wait for a slow reader, and the memory that each holds. The pointers are valid
  /// until a stream is moved or ends.
  std::vector<std::pair<Stream*, std::uint64_t>> waiting_streams() const;

  /// Opens a stream for `end` and assigns it to `stream`. Returns false if this tunnel cannot open one now.
  bool open(const protocol::Open& message, Stream& stream, StreamEnd& end);

 private:
  enum class State : std::uint8_t { handshaking, running, closing, closed };

  // ---- called by Stream while it is open
  friend class Stream;
  void attach(Stream& stream);
  void announce_dial_time(protocol::StreamId stream, std::chrono::milliseconds time);
  void accept(protocol::StreamId stream);
  void reject(Stream& stream, const protocol::Reject& reject);
  void send_head(protocol::StreamId stream, std::vector<std::byte> message);
  void set_readable(protocol::StreamId stream);
  void take(protocol::StreamId stream, std::size_t bytes);
  void reset(Stream& stream, protocol::Reason reason);
  void release(Stream& stream);

  void on_ready(std::uint32_t events) override;
  void on_turn_end() override;
  void touch();

  void shake_hands();
  void receive();
  bool feed(std::span<const std::byte> ciphertext);
  void handle_events();
  void handle(protocol::Event& event);
  void begin_stream(std::uint64_t window_bytes);
  void count_window(std::uint64_t more_bytes);
  void end_stream(const protocol::Forgotten& forgotten);
  void grow_window(const protocol::WindowWanted& wanted);

  void send();
  std::size_t fill(std::span<std::byte> staging);
  bool flush();
  void begin_closing(const Error& why);
  void fail(Error why);
  void finish();
  void publish_load();

  DataPlane& plane_;
  TunnelOwner& owner_;
  const TunnelId id_;
  const std::string peer_;
  TunnelSocket socket_;
  protocol::Session session_;
  std::shared_ptr<TunnelLoad> load_;
  std::shared_ptr<MemoryHolder> memory_holder_;

  StreamDelivery delivery_;
  std::vector<protocol::Session::Survivor> survivors_;  ///< Streams to reset while the tunnel ends.

  State state_ = State::handshaking;
  Error why_;
  bool touched_ = false;
  bool more_waits_ = false;  ///< The last batch was full.
  bool sent_shutdown_ = false;
  int closing_ticks_ = 0;
  TunnelTraffic traffic_;
  std::chrono::steady_clock::time_point since_;
};

/// Closes every tunnel of the worker. Call it on the worker.
void close_all(DataPlane& plane, protocol::Reason reason, const std::string& text);

}  // namespace culvert
