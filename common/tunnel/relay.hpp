// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "common/base/permit.hpp"
#include "common/net/byte_queue.hpp"
#include "common/net/poller.hpp"
#include "common/net/resident.hpp"
#include "common/tls/data_socket.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/stream_opener.hpp"
#include "common/upstream/target_dialer.hpp"

namespace culvert {

/// A TCP connection joined with a stream. Bytes from the socket wait in the kernel until the tunnel pulls them; bytes
/// that the socket does not accept are queued, within the stream's credit, so an idle relay holds no buffer. A FIN
/// becomes a FIN on the other side, and a reset becomes a reset (threats C5, C6). Owned by its DataPlane.
///
/// Life: made by one of the three static functions. Retires itself once both directions have ended and the socket has
/// accepted all bytes, or when either side fails.
class Relay final : public Resident, public StreamEnd, public Pollable, private StreamOpener::Client {
 public:
  /// An accepted connection that becomes a stream.
  struct Accepted {
    UniqueFd socket;
    Permit connection;  ///< Permit of the port.
    std::unique_ptr<StreamOpener> opener;
    /// Called once if no stream can be opened; the connection is reset.
    std::function<void(const OpenRefusal& refusal)> on_refused;
  };
  /// Opens a stream for the connection.
  static void open(DataPlane& plane, Accepted accepted);

  /// For a stream that the peer opened: dials the target, then accepts the stream, or rejects it. `patience` is how
  /// long the peer waits if it is not asked to wait longer.
  static void dial(DataPlane& plane, Stream stream, TargetDialer& dialer, const StreamTarget& target,
                   std::chrono::milliseconds patience, const LinkQuota& link, const LinkLimits& limits);

  /// Joins a connection with a stream that has been accepted already.
  static void join(DataPlane& plane, Stream stream, UniqueFd socket, Permit connection);

  explicit Relay(DataPlane& plane);
  ~Relay() override;

 private:
  // StreamEnd
  Pull pull(std::span<std::byte> room) override;
  void push(std::span<const Bytes> pieces) override;
  void on_head(Bytes message) override;
  void on_finished(bool aborted) override;
  void on_reset(protocol::Reason reason) override;
  void on_over() override;
  // Pollable, Resident
  void on_ready(std::uint32_t events) override;
  void on_tick(protocol::Time now) override;
  // StreamOpener::Client
  bool may_move() const override { return true; }
  void move_to(DataPlane& there) override;
  void on_placed() override;
  void on_accepted() override;
  void on_refused(const OpenRefusal& refusal) override;

  void on_dialed(std::expected<Dialed, protocol::Reject> outcome);
  Pull read(std::span<std::byte> room);
  [[nodiscard]] bool watch();
  void flush();
  void finish_if_flushed();
  void drop_socket(bool by_reset);
  void end(protocol::Reason reason);
  void count_queue();

  DataPlane& plane_;
  Stream stream_;
  DataSocket socket_;
  bool watched_ = false;
  ByteQueue queue_;
  std::size_t counted_ = 0;               ///< Bytes of the queue that the gauge includes.
  Permit connection_;                     ///< Permit of the port or the mapping; the relay ends when it is withdrawn.
  std::unique_ptr<StreamOpener> opener_;  ///< Opener side: until the answer, and the last byte to be sent again.
  std::function<void(const OpenRefusal&)> refused_;
  std::unique_ptr<Dial> dial_;  ///< Acceptor side: until the dial is over.
  Admission admission_;         ///< Acceptor side.
  bool finishing_ = false;      ///< The stream's last byte was received: half-close once the queue is empty.
  bool finished_ = false;
};

}  // namespace culvert
