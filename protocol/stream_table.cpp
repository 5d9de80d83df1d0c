// SPDX-License-Identifier: Apache-2.0
#include "protocol/stream_table.hpp"

#include "protocol/limits.hpp"

namespace culvert::protocol {

Stream& StreamTable::open(std::uint64_t window, Time now) {
  const StreamId id = next_own_id_;
  next_own_id_ += 2;
  window_bytes_ += window;
  return streams_.try_emplace(id, id, StreamState::opening, optimistic_bytes_max, window, now).first->second;
}

Stream& StreamTable::offer(StreamId id, std::uint64_t send_limit, Time now) {
  ++peer_streams_;
  window_bytes_ += optimistic_bytes_max;
  Stream& stream =
      streams_.try_emplace(id, id, StreamState::offered, send_limit, optimistic_bytes_max, now).first->second;
  stream.by_peer = true;
  return stream;
}

void StreamTable::grow(Stream& stream, std::uint64_t bytes) {
  stream.receive.grow(bytes);
  window_bytes_ += bytes;
}

void StreamTable::erase(const Stream& stream) {
  if (stream.by_peer) --peer_streams_;
  streams_.erase(stream.id);
}

Stream* StreamTable::find(StreamId id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

}  // namespace culvert::protocol
