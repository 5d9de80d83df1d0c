// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/net/poller.hpp"
#include "common/net/send_buffer.hpp"
#include "common/net/tcp_progress.hpp"
#include "common/net/unique_fd.hpp"
#include "common/tls/tls_engine.hpp"
#include "common/tunnel/data_plane.hpp"

namespace culvert {

/// The TLS connection below a tunnel: the socket, its readiness, the TLS engine, sealed records until the kernel
/// accepts them, and the size of a batch. Independent of the protocol. Owned by its Tunnel, on its worker. Holds no
/// buffer while nothing waits to be sent.
class TunnelSocket {
 public:
  /// `congestion_control` is requested from the kernel; empty: the system's default.
  TunnelSocket(DataPlane& plane, UniqueFd fd, UniqueSsl ssl, std::uint64_t key_update_bytes,
               const std::string& congestion_control);

  /// `pollable` gets the socket's events. Returns false if the kernel's limit of watched sockets is reached.
  [[nodiscard]] bool watch(Pollable& pollable);
  void unwatch(Pollable& pollable) { plane_.worker().poller().remove(fd_.get(), pollable); }
  void note_ready(std::uint32_t events);

  // ---- in
  bool is_readable() const { return readable_; }
  struct Received {
    enum class State : std::uint8_t { bytes, nothing, ended, failed };
    State state = State::nothing;
    std::span<const std::byte> ciphertext;  ///< A view into the plane's buffer; valid until its next use.
    int error = 0;
  };
  /// Reads once. Afterwards is_readable() is true if there may be more.
  Received receive();
  void feed(std::span<const std::byte> ciphertext) { engine_.feed(ciphertext); }
  /// Output of these two (an answer, an alert, a KeyUpdate) waits for flush().
  TlsEngine::Step shake_hands();
  TlsEngine::Read read(std::span<std::byte> plaintext);

  // ---- out
  /// Returns how much to seal at once: as much as is sent within 20 ms, so that a PING or a small request does not wait
  /// longer behind it.
  std::size_t batch_bytes() const;
  /// Returns whether the kernel accepts more now. Bytes that are sealed too early delay a small request that becomes
  /// ready meanwhile. If the kernel was full lately, this costs a system call, which is worth it.
  bool has_room();
  /// Returns false if the engine failed.
  [[nodiscard]] bool seal(std::span<const std::byte> plaintext);
  void seal_close();
  enum class Flushed : std::uint8_t { all, some, failed };
  /// Hands sealed records to the kernel. If `failed`, errno has the reason.
  Flushed flush();
  /// Tries once to send what is sealed, then ends both directions.
  void close();
  void half_close();

  /// Call it about once per second. Adapts how much the kernel may hold unsent.
  void begin_second(protocol::Time now);
  /// Returns whether congestion limits sending, now and in the last seconds.
  bool is_congested() const { return is_congested_; }

  const TlsEngine& tls() const { return engine_; }
  std::uint64_t bytes_in() const { return bytes_in_; }
  std::uint64_t bytes_out() const { return bytes_out_; }
  /// Returns the sealed bytes that the kernel has not accepted yet.
  std::size_t queued_bytes() const { return output_ ? output_->size() : 0; }
  bool holds_buffer() const { return output_ != nullptr; }
  /// Returns the least round trip that the kernel measured: to the other end of the TCP connection.
  std::chrono::microseconds tcp_round_trip() const;
  /// Returns how long our first TLS message took to be answered: to the peer, also through a proxy.
  std::chrono::microseconds tls_round_trip() const { return tls_round_trip_; }

 private:
  std::uint64_t rate_out() const;
  SendBuffer& output();
  void give_back_output();

  DataPlane& plane_;
  UniqueFd fd_;
  TlsEngine engine_;
  std::unique_ptr<SendBuffer> output_;  ///< Present only while it is not empty.
  bool readable_ = false;
  bool writable_ = true;
  bool hangup_ = false;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  protocol::Time second_began_;
  std::uint64_t second_began_out_ = 0;  ///< bytes_out_ at the begin of this second.
  std::uint64_t last_second_out_ = 0;   ///< Bytes sent in the second before.
  int notsent_bytes_;
  int refused_for_seconds_ = 0;  ///< Above 0: the kernel had no room in this second, or the one before.
  CongestionWatch congestion_;
  bool is_congested_ = false;
  std::chrono::microseconds tls_round_trip_{0};
};

}  // namespace culvert
