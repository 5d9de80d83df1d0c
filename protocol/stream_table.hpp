// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "protocol/frame.hpp"
#include "protocol/stream.hpp"

namespace culvert::protocol {

/// Which streams a tunnel has: their ids (SPEC 6.1), how many are the peer's, and how much memory all were granted.
class StreamTable {
 public:
  /// No id of ours is above `own_id_max`.
  StreamTable(Role role, StreamId own_id_max)
      : role_(role), own_id_max_(own_id_max), next_own_id_(role == Role::agent ? 1 : 2) {}

  /// A new stream of ours, with the next id. Only while ids are left.
  Stream& open(std::uint64_t window_bytes, Time now);
  bool ids_exhausted() const { return next_own_id_ > own_id_max_ - 2; }
  /// The peer may open a stream with this id: it has the right parity and is above the last one.
  bool may_come(StreamId id) const { return !is_ours(id) && id > last_peer_id_; }
  void note_peer_id(StreamId id) { last_peer_id_ = id; }
  /// A new stream of the peer's, whose id was noted. Its window is the optimistic one.
  Stream& offer(StreamId id, std::uint64_t send_limit, Time now);
  /// A larger window for the stream.
  void grow(Stream& stream, std::uint64_t bytes);
  /// The stream is over: its window no longer counts.
  void release(const Stream& stream) { window_bytes_ -= stream.receive.window(); }
  void erase(const Stream& stream);

  /// nullptr: there is none.
  Stream* find(StreamId id);
  /// The id belongs to a stream that exists, or existed, or was left out.
  bool was_used(StreamId id) const { return is_ours(id) ? id < next_own_id_ : id <= last_peer_id_; }
  std::unordered_map<StreamId, Stream>& all() { return streams_; }
  const std::unordered_map<StreamId, Stream>& all() const { return streams_; }

  std::size_t size() const { return streams_.size(); }
  std::uint32_t peer_streams() const { return peer_streams_; }
  /// The highest id that the peer used; 0: none.
  StreamId last_peer_id() const { return last_peer_id_; }
  /// Sum of the receive windows.
  std::uint64_t window_bytes() const { return window_bytes_; }

 private:
  bool is_ours(StreamId id) const { return (id & 1) == (role_ == Role::agent ? 1U : 0U); }

  const Role role_;
  const StreamId own_id_max_;
  std::unordered_map<StreamId, Stream> streams_;
  StreamId next_own_id_;
  StreamId last_peer_id_ = 0;
  std::uint32_t peer_streams_ = 0;
  std::uint64_t window_bytes_ = 0;
};

}  // namespace culvert::protocol
