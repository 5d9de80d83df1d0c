// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <vector>

#include "protocol/events.hpp"
#include "protocol/fault.hpp"
#include "protocol/frame.hpp"
#include "protocol/messages.hpp"
#include "protocol/outgoing.hpp"
#include "protocol/queue.hpp"
#include "protocol/scheduler.hpp"
#include "protocol/session_counters.hpp"
#include "protocol/stream.hpp"
#include "protocol/stream_table.hpp"

namespace culvert::protocol {

/// What the streams of one tunnel do (SPEC 6 and 7): it applies the driver's calls to them, receives and composes their
/// frames, and knows nothing of the tunnel but that it has ended. Lives in Session, which documents the calls of the
/// driver: one that names a stream whose life is over does nothing.
class Streams {
 public:
  /// The peer may have `peer_streams_max` open here. `events` must outlive this.
  Streams(StreamTable table, std::uint32_t peer_streams_max, Queue<Event>& events);
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  // ---- The driver's calls
  StreamId open(const Open& message, void* user, Time now);
  void attach(StreamId id, void* user);
  void accept(StreamId id, std::uint64_t window_bytes);
  void reject(StreamId id, const Reject& message);
  void announce_dial_time(StreamId id, std::chrono::milliseconds time);
  void set_readable(StreamId id);
  void send_head(StreamId id, std::vector<std::byte> message);
  void take(StreamId id, std::uint64_t bytes, Time now, std::optional<Time> round_trip_min);
  std::uint64_t grow_window(StreamId id, std::uint64_t more_bytes);
  void abort(StreamId id);
  void stop(StreamId id, Reason reason);
  void reset(StreamId id, Reason reason);
  bool knows(StreamId id) { return live(id) != nullptr; }

  // ---- In: frames of streams, all after the greeting
  /// DATA, HEAD: the stream whose driver gets the payload; nullptr when it is dropped.
  [[nodiscard]] std::expected<Stream*, Fault> receive_data(const FrameReader::Part& part);
  [[nodiscard]] std::expected<Stream*, Fault> receive_head(const FrameReader::Part& part);
  /// OPEN. `answers_elsewhere` of the tunnel count with answers_queued() for the limit of SPEC 8.2.
  [[nodiscard]] std::optional<Fault> receive_open(const FrameReader::Part& part, Time now,
                                                  std::size_t answers_elsewhere);
  /// Any other.
  [[nodiscard]] std::optional<Fault> receive(const FrameReader::Part& part);
  /// GOAWAY(final): rejects our unanswered streams above `last_handled`, which the peer never saw (SPEC 8.3).
  void reject_unseen(StreamId last_handled);
  /// The tunnel has ended: from now on nothing changes.
  void end() { ended_ = true; }

  // ---- Out
  /// Writes the CREDIT and STOP that are due, as many as `room` holds. Returns their size.
  std::size_t write_urgent(std::span<std::byte> room);
  bool has_urgent() const { return !urgent_.empty(); }
  /// What the stream whose turn it is sends.
  Outgoing next_outgoing(std::span<std::byte> room);
  std::size_t commit(std::size_t bytes, Source source);
  void commit_reset(Reason reason);
  bool is_filling() const { return filling_ != nullptr; }
  /// REJECTs, CREDITs and STOPs that wait to be sent.
  std::size_t answers_queued() const { return urgent_.size() + rejects_owed_; }

  const StreamTable& table() const { return table_; }
  const SessionCounters& counters() const { return counters_; }

 private:
  // streams.cpp
  Stream* live(StreamId id);
  void step(Stream& stream, StreamEvent event);
  void refresh(Stream& stream);
  void forget(Stream& stream);
  void settle(Stream& stream);
  void erase_if_done(Stream& stream);
  void reject(Stream& stream, const Reject& message);
  void abort(Stream& stream);

  // streams_receive.cpp
  std::expected<Stream*, Fault> stream_of(const FrameReader::Part& part);
  std::optional<Fault> step_received(Stream& stream, StreamEvent event);
  std::expected<Stream*, Fault> stream_with_payload(const FrameReader::Part& part);
  std::optional<Fault> receive_accept(Stream& stream, std::span<const std::byte> payload);
  std::optional<Fault> receive_reject(Stream& stream, std::span<const std::byte> payload);
  std::optional<Fault> receive_pending(Stream& stream, std::span<const std::byte> payload);
  std::optional<Fault> receive_credit(Stream& stream, std::span<const std::byte> payload);
  std::optional<Fault> receive_fin(Stream& stream, bool aborted);
  std::optional<Fault> receive_reset(Stream& stream, Reason reason);
  std::optional<Fault> receive_stop(Stream& stream, Reason reason);

  // streams_send.cpp
  std::size_t write_owed(Stream& stream, std::span<std::byte> room);
  std::size_t end_sending(Stream& stream, std::span<std::byte> room, bool aborted);

  StreamTable table_;
  const std::uint32_t peer_streams_max_;
  Queue<Event>& events_;
  Scheduler scheduler_;
  SessionCounters counters_;
  bool ended_ = false;  ///< The tunnel has.

  Queue<StreamId> urgent_;        ///< Streams that owe CREDIT, STOP or PENDING.
  std::size_t rejects_owed_ = 0;  ///< Streams that owe REJECT.

  Stream* incoming_ = nullptr;         ///< Its DATA frame is being read; nullptr while a dropped one is.
  Stream* filling_ = nullptr;          ///< Its slot is being filled,
  std::span<std::byte> filling_room_;  ///< in this room.
};

}  // namespace culvert::protocol
