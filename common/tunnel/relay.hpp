// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/base/quota.hpp"
#include "common/net/poller.hpp"
#include "common/tunnel/byte_queue.hpp"
#include "common/tunnel/churn_guard.hpp"
#include "common/tunnel/relay_socket.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/tunnel.hpp"

namespace culvert {

/// An accepted connection that wants to become a stream, until the peer has answered. What was sent on it is kept, so
/// that a refusal that another tunnel might not share can be tried again there with the same bytes (SPEC 6.1).
class Relay;
struct OpenAttempt {
  UniqueFd socket;
  protocol::Open open;
  std::vector<std::byte> replay;
  std::vector<TunnelId> tried;
  std::shared_ptr<Quota> place;  ///< Of the port's connections.
  /// Called where the attempt failed for now: try again elsewhere, or give up and close.
  std::function<void(DataPlane&, OpenAttempt, protocol::Reject)> on_rejected;
};

/// What a connection holds for as long as it lives, and who wants to know how it ended.
struct Admission {
  std::shared_ptr<void> link_place;      ///< Of the peer's streams.
  std::shared_ptr<Quota> mapping_place;  ///< Of the mapping's or the port's connections; its withdrawal ends the relay.
  std::shared_ptr<ChurnGuard> churn;     ///< The acceptor's, of this worker.
};

/// A connection to a target that a relay waits for by itself: the usual case, one address and no TLS, costs no
/// coroutine.
struct PendingDial {
  UniqueFd socket;  ///< connect() said EINPROGRESS.
  protocol::Time deadline;
  /// Of everything that is being dialled; `counted` ends it in the gauge.
  std::shared_ptr<void> place;
  std::shared_ptr<void> counted;
  std::function<void(Relay&, int error)> on_failed;
};

/// A TCP connection joined with a stream. Holds no buffer while idle: bytes wait in the kernel until the tunnel pulls,
/// and what the socket refuses is bounded by the stream's credit. A FIN is a FIN, and a reset a reset, on the other
/// side (threats C5, C6). Owned by its DataPlane; buries itself.
class Relay final : public StreamEnd, public Pollable {
 public:
  /// The opener's: `attempt` has the socket. Registers with the plane and opens the stream; false: the tunnel refused,
  /// and `attempt` is as it was.
  static bool open(Tunnel& tunnel, OpenAttempt& attempt);
  /// The acceptor's: joined with the stream at once, so that early bytes have a place; connect(), wait_for() or
  /// give_up() follows.
  static Relay& accept(Tunnel& tunnel, protocol::StreamId stream, Admission admission);

  /// The opener's, where somebody else has waited for the peer's ACCEPT, and gives the stream away inside
  /// on_accepted().
  static void take_over(Tunnel& tunnel, protocol::StreamId stream, UniqueFd socket, Admission admission);

  explicit Relay(Tunnel& tunnel);
  ~Relay() override;

  EndId id() const { return id_; }
  /// The target is connected: accepts the stream.
  void connect(RelaySocket socket);
  /// It will be, or `on_failed` is called.
  void wait_for(PendingDial dial);
  /// It cannot be: rejects the stream.
  void give_up(const protocol::Reject& reject);

 private:
  // StreamEnd
  Pull pull(std::span<std::byte> room) override;
  void push(std::span<const Bytes> pieces) override;
  void on_head(Bytes message) override;
  void on_tick(protocol::Time now) override;
  void on_accepted() override;
  void on_rejected(const protocol::Reject& reject) override;
  void on_finished(bool aborted) override;
  void on_reset(protocol::Reason reason) override;
  void on_stopped(protocol::Reason reason) override;
  void on_forgotten(std::uint64_t window_bytes) override;
  // Pollable
  void on_ready(std::uint32_t events) override;

  std::size_t pull_replay(std::span<std::byte> room);
  void forget_attempt_if_replayed();
  [[nodiscard]] bool watch(int fd);
  void settle(std::uint32_t events);
  void flush();
  void finish_if_flushed();
  void drop_socket(bool by_reset);
  void socket_failed(protocol::Reason reason);
  void count_queue();

  DataPlane& plane_;
  Tunnel* tunnel_;  ///< nullptr once the stream is forgotten.
  protocol::StreamId stream_ = 0;
  EndId id_ = 0;
  RelaySocket socket_;
  ByteQueue queue_;
  std::size_t counted_ = 0;
  std::uint64_t window_bytes_ = 0;        ///< Ours since the stream is forgotten.
  std::unique_ptr<OpenAttempt> attempt_;  ///< The opener's, until the answer and the last byte to send again.
  std::size_t replayed_ = 0;
  std::unique_ptr<PendingDial> dial_;  ///< The acceptor's, until it is settled.
  Admission admission_;
  protocol::Time began_;
  bool accepted_ = false;   ///< The opener's.
  bool finishing_ = false;  ///< The stream's last byte is here: half-close once the queue is empty.
  bool finished_ = false;
};

}  // namespace culvert
