// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/tunnel_directory.hpp"

namespace culvert {

/// Why a stream could not be opened. A refusal of a stream, not of a message (http::Refusal) or a caller
/// (TokenRefusal).
struct OpenRefusal {
  std::optional<protocol::Reason> reason;  ///< nullopt: no tunnel leads to the target.
  std::string text;                        ///< Text for the log.

  /// Returns "no_tunnel", or the name of the reason.
  std::string_view name() const { return reason ? protocol::to_string(*reason) : "no_tunnel"; }
};

/// Opens one stream: it ends with an accepted stream, or with one final refusal. It picks the tunnel and has its client
/// move to that tunnel's worker. It retries on another tunnel if the reason is retryable, on at most three tunnels in
/// all, and sends the bytes that the peer has not accepted yet again there (SPEC 6.1). It keeps the deadline of the
/// peer's answer.
///
/// Life: start(), on each worker that its client moves to; then on_accepted() or on_refused() of the client. Until
/// is_done() the client's pull() must call pull() here. Owned by the client; on its worker. It makes no call after it
/// is destroyed.
class StreamOpener {
 public:
  static constexpr std::size_t tunnels_tried_max = 3;

  /// The object that the stream is opened for: a client's connection.
  class Client {
   public:
    /// Returns whether it can move to another worker now.
    virtual bool may_move() const = 0;
    /// The tunnel belongs to `there`: moves itself, with this opener, and calls start() there.
    virtual void move_to(DataPlane& there) = 0;
    /// Returns the stream of its bond on this tunnel (SPEC 5.10); 0: none.
    virtual protocol::StreamId bond_on(Tunnel&) { return 0; }
    /// OPEN is sent on a tunnel, for the first time or again. pull() sends bytes that were sent before again; the
    /// client must send its HEAD again.
    virtual void on_placed() = 0;
    virtual void on_accepted() = 0;
    /// Final: the stream has ended.
    virtual void on_refused(const OpenRefusal& refusal) = 0;

   protected:
    ~Client() = default;
  };

  /// The tunnel to try first, and the index of its worker.
  struct Preferred {
    TunnelId tunnel = 0;
    std::size_t plane = 0;
  };

  struct Request {
    std::string key;  ///< Key in the tunnel directory.
    protocol::Open open;
    TunnelDirectory::Moves moves = TunnelDirectory::Moves::once;
    std::optional<Preferred> preferred;
    /// The client waits for a first tunnel until then: after a restart, connections from the backlog are accepted
    /// before there is one.
    std::chrono::steady_clock::time_point wait_for_tunnel_until;
  };

  /// `directory` must outlive it.
  StreamOpener(const TunnelDirectory& directory, Request request);
  StreamOpener(const StreamOpener&) = delete;
  StreamOpener& operator=(const StreamOpener&) = delete;
  ~StreamOpener();

  /// Opens a stream for `end` and assigns it to `stream`. All of them must outlive the opener on this worker. May call
  /// the client before it returns.
  void start(DataPlane& here, Client& client, StreamEnd& end, Stream& stream);

  const protocol::Open& open() const { return request_.open; }

  /// For the client's pull(): gives bytes that must be sent again, then those of `source`. A copy of them is kept until
  /// the peer has accepted the stream. `source` is called with the room and returns a StreamEnd::Pull.
  template <typename Source>
  StreamEnd::Pull pull(std::span<std::byte> room, Source&& source) {
    if (replayed_ < replay_.size()) return {replay(room), protocol::Source::more};
    const StreamEnd::Pull pulled = source(room);
    if (!is_accepted_) keep(room.first(pulled.bytes));
    return pulled;
  }
  /// True once the stream is accepted and nothing is left to be sent again: the client may destroy it. The answer may
  /// arrive before all is sent again, since a small batch holds only a part of it.
  bool is_done() const { return is_accepted_ && replayed_ == replay_.size(); }

  bool is_accepted() const { return is_accepted_; }

  /// Call it about once per second.
  void on_tick(protocol::Time now);
  /// Call it when the client's StreamEnd::on_reset() is called before the answer.
  void on_reset(protocol::Reason reason);

 private:
  friend class Tunnel;
  // Called by the tunnel with the peer's answer. After a refusal the stream belongs to no tunnel.
  void on_accepted();
  void on_rejected(const protocol::Reject& reject);
  void on_pending(std::chrono::milliseconds time);

  void place();
  bool moves_to(TunnelId tunnel, std::size_t plane);
  void place_later();
  void refuse();
  bool open_on(Tunnel& tunnel);
  void keep(std::span<const std::byte> bytes);
  std::size_t replay(std::span<std::byte> room);

  const TunnelDirectory& directory_;
  Request request_;
  DataPlane* plane_ = nullptr;
  Client* client_ = nullptr;
  StreamEnd* end_ = nullptr;
  Stream* stream_ = nullptr;
  std::optional<TunnelId> chosen_;  ///< The tunnel that the client has moved for.
  std::vector<TunnelId> tried_;
  std::vector<std::byte> replay_;
  std::size_t replayed_ = 0;
  std::optional<protocol::Reject> last_reject_;
  protocol::Time answer_due_{0};  ///< Since the stream is placed.
  bool is_accepted_ = false;
  std::unique_ptr<boost::asio::steady_timer> wait_;
  std::shared_ptr<char> alive_;  ///< Lets a timer that has already expired see whether this still exists.
};

}  // namespace culvert
