// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocol/messages.hpp"
#include "protocol/session.hpp"

namespace culvert {

/// What a stream is joined with on this side of the tunnel: a TCP socket (Relay). The interface between a Tunnel and
/// whoever has a stream's bytes. Owned by its DataPlane; everything on one worker. After on_forgotten() the tunnel
/// never calls again.
class StreamEnd {
 public:
  using Bytes = std::span<const std::byte>;
  /// Of one push: with frames as long as ours, more than one read of the tunnel holds.
  static constexpr std::size_t pieces_max = 8;

  virtual ~StreamEnd() = default;

  struct Pull {
    std::size_t bytes = 0;
    protocol::Source source = protocol::Source::blocked;
    /// Not `none`: the source was reset, and so is the stream.
    protocol::Reason reset = protocol::Reason::none;
  };
  /// Gives bytes to the tunnel: fills `room` from its start, straight from the source.
  virtual Pull pull(std::span<std::byte> room) = 0;
  /// Takes bytes from the tunnel, 1 to pieces_max pieces in order; they are gone when it returns. What was taken in for
  /// good is reported by Tunnel::take().
  virtual void push(std::span<const Bytes> pieces) = 0;

  /// A HEAD in its place among the bytes; gone when it returns. Its size is reported by Tunnel::take(), too.
  virtual void on_head(Bytes message) = 0;

  /// Once a second or so.
  virtual void on_tick(protocol::Time now) = 0;

  virtual void on_accepted() = 0;
  virtual void on_rejected(const protocol::Reject& reject) = 0;
  /// No more push(). `aborted`: what came is cut off.
  virtual void on_finished(bool aborted) = 0;
  virtual void on_reset(protocol::Reason reason) = 0;
  /// No more pull().
  virtual void on_stopped(protocol::Reason reason) = 0;
  /// The stream is over. `window_bytes` of the memory budget are the end's own now: it gives them back when what waits
  /// here is gone.
  virtual void on_forgotten(std::uint64_t window_bytes) = 0;
};

}  // namespace culvert
