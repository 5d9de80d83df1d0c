// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/tunnel/tunnel_traffic.hpp"
#include "protocol/credit.hpp"
#include "protocol/frame.hpp"
#include "protocol/messages.hpp"
#include "protocol/reason.hpp"

namespace culvert {

class DataPlane;
class MemoryHolder;
class StreamEnd;
class StreamOpener;
class Tunnel;

/// One stream of a tunnel, with its share of the memory budget. Owned by the object that is joined with it. Move-only.
/// The destructor resets directions that are still open, with Reason::cancelled, and returns the memory; the end is not
/// called any more. On the tunnel's worker.
class Stream {
 public:
  /// Makes an object without a stream.
  Stream() = default;
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;
  ~Stream() { drop(protocol::Reason::cancelled); }

  /// Returns false once the tunnel has forgotten the stream. The calls below then do nothing.
  bool is_open() const { return tunnel_ != nullptr; }

  protocol::StreamId id() const { return id_; }
  /// Returns the object that was passed to join() last.
  StreamEnd& end() const { return *end_; }
  /// From now on the tunnel calls `end`, which must live at least as long as this object.
  void join(StreamEnd& end);

  /// Before the answer: the peer is to wait this long for it.
  void announce_dial_time(std::chrono::milliseconds time);
  void accept();
  void reject(const protocol::Reject& reject);
  /// `message` has the form head_form().
  void send_head(std::vector<std::byte> message);
  /// The HEADs that the peer reads. A stream that is opened again may have another peer.
  protocol::HeadForm head_form() const;
  /// Call it when the end has bytes, the end of its data or a failure to give: the tunnel then calls pull().
  void set_readable();
  /// Reports that `bytes` of push() or on_head() are disposed of: the peer may send as many more.
  void take(std::size_t bytes);
  /// Ends directions that are open with RESET (before our ACCEPT with REJECT), and returns the memory. The end is not
  /// called any more.
  void drop(protocol::Reason reason);
  /// Resets the stream, and calls the end's on_reset() as if the peer had done it. Also when the tunnel has forgotten
  /// the stream, and its last bytes wait for a slow reader.
  void give_up(protocol::Reason reason);

 private:
  friend class DataPlane;
  friend class Tunnel;
  friend class StreamOpener;
  Stream(Tunnel& tunnel, protocol::StreamId id);
  void move_from(Stream& other);
  void give_back();
  /// The tunnel has forgotten the stream: its memory is held here until drop().
  void hold(DataPlane& plane, std::shared_ptr<MemoryHolder> holder, std::uint64_t window_bytes);
  /// Returns for how long no bytes were taken, as far as calls of this tell.
  protocol::Time stands_still(protocol::Time now);

  Tunnel* tunnel_ = nullptr;
  protocol::StreamId id_ = 0;
  StreamEnd* end_ = nullptr;
  StreamOpener* opener_ = nullptr;  ///< Set until the peer has answered our OPEN.
  StreamTraffic traffic_;
  DataPlane* plane_ = nullptr;                   ///< Holds window_bytes_.
  std::shared_ptr<MemoryHolder> memory_holder_;  ///< Whom they count for; may be nullptr.
  std::uint64_t window_bytes_ = 0;  ///< Held of the memory budget once the tunnel has forgotten the stream.
  std::uint64_t taken_bytes_ = 0;
  std::uint64_t taken_before_ = 0;             ///< At the last stands_still().
  std::optional<protocol::Time> still_since_;  ///< No call of stands_still() saw more bytes taken since then.
};

}  // namespace culvert
