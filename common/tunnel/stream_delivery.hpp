// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <unordered_set>
#include <utility>

#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "protocol/session.hpp"

namespace culvert {

/// Finds the stream of a session's event; only this class converts the session's user pointer to a Stream. Consecutive
/// data of one stream are gathered and given to its end in one push(); they are views into the bytes that were fed.
/// Part of a Tunnel.
class StreamDelivery {
 public:
  /// Returns nullptr if no end is joined with the stream any more.
  Stream* stream_of(protocol::StreamId id, void* user) const {
    if (user == nullptr || released_.contains(id)) return nullptr;
    return static_cast<Stream*>(user);
  }
  /// Call it when the stream leaves the tunnel: events that are already queued may still name it.
  void release(protocol::StreamId id, const Stream& stream) {
    released_.insert(id);
    if (gathered_.stream == &stream) gathered_ = {};
  }
  /// Call it when no event is queued any more.
  void forget_released() { released_.clear(); }

  /// Returns false if the stream was released: the data is discarded.
  bool gather(const protocol::Data& data, Stream& stream) {
    if (gathered_.stream != &stream || gathered_.count == gathered_.pieces.size()) (void)deliver();
    // The delivery may have made an end release this stream.
    if (stream_of(data.stream, data.user) == nullptr) return false;
    gathered_.stream = &stream;
    gathered_.pieces[gathered_.count++] = data.bytes;
    return true;
  }
  /// Returns false if nothing was gathered.
  bool deliver() {
    if (gathered_.count == 0) return false;
    const Gathered gathered = std::exchange(gathered_, {});
    gathered.stream->end().push(std::span(gathered.pieces).first(gathered.count));
    return true;
  }

 private:
  struct Gathered {
    Stream* stream = nullptr;
    std::array<std::span<const std::byte>, StreamEnd::pieces_max> pieces{};
    std::size_t count = 0;
  };
  Gathered gathered_;
  std::unordered_set<protocol::StreamId> released_;
};

}  // namespace culvert
