// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "common/net/send_buffer.hpp"
#include "common/net/unique_fd.hpp"
#include "common/tls/tls_connect.hpp"
#include "common/tls/tls_engine.hpp"

namespace culvert {

/// The socket behind a stream: a TCP connection, or one with TLS to a back end (tcps). Non-blocking; says when it would
/// block. On one worker.
class DataSocket {
 public:
  DataSocket() = default;
  explicit DataSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  /// With TLS, the handshake done.
  explicit DataSocket(TlsConnected connected)
      : fd_(std::move(connected.fd)),
        tls_(std::make_unique<Tls>(std::move(connected.engine), std::move(connected.unread))) {}

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }

  enum class State : std::uint8_t {
    ready,    ///< There may be more, or room for more.
    blocked,  ///< Not until the next event.
    ended,    ///< The other side's clean end.
    cut,      ///< Its end without close_notify: what came may not be whole.
    failed,   ///< The connection is gone.
  };
  struct Outcome {
    std::size_t bytes = 0;
    State state = State::ready;
  };
  /// The poller's word that the peer has ended or the socket has failed: from now on only the socket itself says when
  /// it is empty.
  void note_hangup() { hangup_ = true; }
  bool has_hung_up() const { return hangup_; }
  Outcome read(std::span<std::byte> room);
  /// Takes bytes from the front. With TLS, what was sealed counts as taken.
  Outcome write(std::span<const std::byte> bytes);
  /// As if the pieces were one, and without TLS in one system call where the kernel takes them all.
  Outcome write(std::span<const std::span<const std::byte>> pieces);
  /// Sealed bytes that the kernel has not taken: call write({}) when it can.
  bool has_unsent() const { return tls_ && !tls_->output.empty(); }
  /// Half-close; with TLS close_notify before it. False: the kernel has no room for that, call again when it has.
  bool finish();
  /// Closes by RST.
  void reset();
  /// Calls `report` once when the back end asks for renegotiation (see refused_renegotiation()). Only with TLS.
  void on_refused_renegotiation(std::move_only_function<void()> report) { tls_->on_refused = std::move(report); }
  bool has_refused_renegotiation() const { return tls_ && refused_renegotiation(tls_->engine->native()); }
  /// Hands the descriptor on. Plain sockets only.
  UniqueFd release() { return std::move(fd_); }
  void close() { fd_.close(); }

 private:
  struct Tls {
    Tls(std::unique_ptr<TlsEngine> handshaken, std::vector<std::byte> first)
        : engine(std::move(handshaken)), output(0), unread(std::move(first)) {}
    std::unique_ptr<TlsEngine> engine;
    SendBuffer output;
    std::vector<std::byte> unread;  ///< Ciphertext that did not fit the last room.
    bool said_close = false;
    std::move_only_function<void()> on_refused;  ///< Empty: nobody asked, or it was called.
  };
  Outcome receive(std::span<std::byte> room);
  Outcome read_tls(std::span<std::byte> room);
  std::size_t send_together(std::span<const std::span<const std::byte>> pieces);
  Outcome write_tls(std::span<const std::byte> bytes);
  State flush_tls();

  UniqueFd fd_;
  std::unique_ptr<Tls> tls_;
  bool hangup_ = false;
};

}  // namespace culvert
