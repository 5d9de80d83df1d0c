// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocol/reason.hpp"
#include "protocol/session.hpp"

namespace culvert {

/// The object that a stream is joined with on this side of the tunnel: a TCP socket or one HTTP exchange. The tunnel
/// calls it on its worker after Stream::join(). The last call is on_reset() or on_over(). No call is made after its
/// Stream was dropped or destroyed.
class StreamEnd {
 public:
  using Bytes = std::span<const std::byte>;
  /// Limit of pieces in one push(). With frames as long as ours, one read of the tunnel holds fewer.
  static constexpr std::size_t pieces_max = 8;

  struct Pull {
    std::size_t bytes = 0;
    protocol::Source source = protocol::Source::blocked;
    /// If not `none`, the source failed and the stream is reset with this reason. No call follows.
    protocol::Reason reset = protocol::Reason::none;
  };
  /// Gives bytes to the tunnel: fills `room` from its start, directly from the source. Must not drop the stream; it
  /// returns `reset` instead.
  virtual Pull pull(std::span<std::byte> room) = 0;
  /// Receives bytes from the tunnel: 1 to pieces_max pieces, in order, valid until it returns. Report bytes that are
  /// disposed of with Stream::take().
  virtual void push(std::span<const Bytes> pieces) = 0;
  /// Receives a HEAD, in order with the bytes, valid until it returns. Report its size with Stream::take(), too. A
  /// stream of plain bytes has no HEAD: its end resets the stream.
  virtual void on_head(Bytes message) = 0;
  /// The peer has ended its direction: no push() follows. If `aborted`, the bytes are incomplete.
  virtual void on_finished(bool aborted) = 0;

  /// The last call: the stream was cut off in both directions, by the peer or with the tunnel.
  virtual void on_reset(protocol::Reason reason) = 0;
  /// The last call: both directions have ended. Bytes that the end still holds for a slow reader are counted in its
  /// Stream's share of the memory budget.
  virtual void on_over() = 0;

 protected:
  ~StreamEnd() = default;
};

}  // namespace culvert
