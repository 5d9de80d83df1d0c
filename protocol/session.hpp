// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "protocol/events.hpp"
#include "protocol/fault.hpp"
#include "protocol/frame.hpp"
#include "protocol/messages.hpp"
#include "protocol/outgoing.hpp"
#include "protocol/queue.hpp"
#include "protocol/streams.hpp"
#include "protocol/tunnel_state.hpp"

// One side of one tunnel: bytes and a time come in, events and bytes go out (SPEC.md). What the driver must do, as a
// regular expression of calls:
//
//   in:    ( feed  next_event* )*        Call next_event() until it has no more. Data spans point into the fed bytes.
//                                        Other calls make events too: do the same after them.
//   out:   ( next_outgoing  commit? )*   Give it at least outgoing_bytes_min of room. The session writes its frames
//                                        itself; a slot is filled by the driver and then committed.
//   time:  on_time()                     At deadline() or later.
//
// Nothing here blocks, locks, logs or reads a clock. A stream that open() returned or that Opened named ends with
// exactly one Forgotten, unless the tunnel's Ended comes first: then no event names a stream any more.

namespace culvert::protocol {

struct SessionOptions {
  Role role = Role::agent;
  Hello hello;  ///< Agent only: sent at once.
  /// Streams that the peer may have open here; beyond it: REJECT(overloaded, retryable).
  std::uint32_t streams_max = protocol::streams_max;
  StreamId stream_id_max = protocol::stream_id_max;  ///< For tests of a tunnel that runs out of ids.
};

/// Joins the tunnel as a whole (TunnelState) with its streams (Streams): routes calls and frames to the one they
/// concern, and ends both.
class Session {
 public:
  Session(const SessionOptions& options, Time now);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // ---- In
  /// Only when next_event() has no more. `bytes` must stay valid until then.
  void feed(std::span<const std::byte> bytes, Time now);
  std::optional<Event> next_event();
  void on_time(Time now);
  /// When on_time() is due; Time::max() once the tunnel has ended.
  Time deadline() const;

  // ---- The tunnel
  /// Server, once, after Greeted. A list of replicas that is too long for a greeting is sent after it.
  void welcome(const Welcome& message) { tunnel_.welcome(message, now_); }
  /// Server: asks for one more tunnel in the link. At most once per widen_interval.
  void ask_to_widen() { tunnel_.ask_to_widen(now_); }
  /// Server, after welcome(): the replicas that are ready now. Only the latest list is sent.
  void tell_replicas(std::vector<std::string> names) { tunnel_.tell_replicas(std::move(names)); }
  /// Asks the peer to open nothing more here, directly after the greeting if that is still to come. Existing streams
  /// continue.
  void drain(Reason reason, std::chrono::milliseconds delay) { tunnel_.drain(reason, delay); }
  /// Server, before the first byte: the peer has chosen the protocol of join connections. Its first frame is JOIN or
  /// RENEW and there are no streams; the answer is followed by GOAWAY(final).
  void expect_join() { tunnel_.expect_join(); }
  /// Server: answers JoinAsked or RenewAsked.
  void answer(const Enrolled& message);
  /// Agent, after Welcomed with the capability "renew", and not before the answer to the last call.
  void renew(const Renew& message) { tunnel_.renew(message); }
  /// Ends the tunnel: GOAWAY(final), then nothing. Ended is the last event.
  void close(Reason reason, std::string text);
  bool may_open() const { return tunnel_.allows_streams() && !streams_.table().ids_exhausted(); }
  bool is_draining() const { return tunnel_.is_draining(); }
  bool is_ended() const { return tunnel_.is_ended(); }

  // ---- Streams
  /// Opens a stream; `message.credit` is its receive window. nullopt when may_open() is false.
  std::optional<StreamId> open(const Open& message, void* user);
  void attach(StreamId id, void* user) { streams_.attach(id, user); }
  void accept(StreamId id, std::uint64_t window_bytes) { streams_.accept(id, window_bytes); }
  /// Before the answer: the dial may take this long from now on, longer than the opener would wait (SPEC 5.9).
  void announce_dial_time(StreamId id, std::chrono::milliseconds time) { streams_.announce_dial_time(id, time); }
  void reject(StreamId id, const Reject& message) { streams_.reject(id, message); }
  /// The stream's source has bytes, its end, or a failure to give.
  void set_readable(StreamId id) { streams_.set_readable(id); }
  /// Sends an encoded HEAD before any Data whose slot has not been given yet. Not after the stream's end.
  void send_head(StreamId id, std::vector<std::byte> message) { streams_.send_head(id, std::move(message)); }
  /// The sink accepted this many bytes of Data or HeadCame.
  void take(StreamId id, std::uint64_t bytes) { streams_.take(id, bytes, now_, tunnel_.round_trip_min()); }
  /// Returns how much was used: nothing if the stream has ended meanwhile, less at window_bytes_max and at
  /// tunnel_granted_bytes_max. The rest returns to the budget.
  std::uint64_t grow_window(StreamId id, std::uint64_t more_bytes) { return streams_.grow_window(id, more_bytes); }
  /// The source failed without having been asked: FIN(ABORTED).
  void abort(StreamId id) { streams_.abort(id); }
  /// Asks the peer to end its sending direction. Data that still comes is dropped.
  void stop(StreamId id, Reason reason) { streams_.stop(id, reason); }
  /// Ends both directions. Before our ACCEPT it is a REJECT.
  void reset(StreamId id, Reason reason) { streams_.reset(id, reason); }
  /// False: the stream was forgotten, or the tunnel has ended; calls that name the stream do nothing.
  bool knows(StreamId id) { return streams_.knows(id); }

  // ---- Out
  /// `room` is the rest of a staging buffer that had outgoing_bytes_min when it was empty: so `full` means that it is
  /// time to send.
  Outgoing next_outgoing(std::span<std::byte> room);
  /// The first `bytes` of the slot are filled. Returns how much of the room is used now, frame headers included.
  std::size_t commit(std::size_t bytes, Source source) { return streams_.commit(bytes, source); }
  /// As commit(0, …), for a source that was reset: RESET.
  std::size_t commit_reset(Reason reason);

  /// After Ended: the streams that got no Forgotten, for the driver to end.
  struct Survivor {
    StreamId id;
    void* user;
    std::uint64_t window_bytes;
  };
  std::vector<Survivor> survivors() const;
  /// Returns the streams with bytes that the driver was given and has not disposed of. For a driver that is short of
  /// memory: it looks at every stream.
  std::vector<Survivor> with_waiting_bytes() const;

  // ---- Its state now
  std::size_t streams() const { return streams_.table().size(); }
  std::uint64_t window_bytes() const { return streams_.table().window_bytes(); }
  std::optional<Time> round_trip() const { return tunnel_.round_trip(); }
  std::optional<Time> round_trip_min() const { return tunnel_.round_trip_min(); }
  const SessionCounters& counters() const { return streams_.counters(); }
  std::uint64_t frames_skipped() const { return reader_.skipped(); }
  bool is_greeted() const { return tunnel_.is_greeted(); }
  /// After the greeting: the HEADs that send_head() may be given.
  HeadForm head_form() const { return tunnel_.head_form(); }

 private:
  void set_time(Time now);
  void end(const Fault& fault);
  std::size_t answers_queued() const { return tunnel_.frames_queued() + streams_.answers_queued(); }
  std::optional<Fault> receive(const FrameReader::Part& part);
  std::optional<Fault> receive_tunnel_frame(const FrameReader::Part& part);
  std::optional<Fault> receive_goaway(std::span<const std::byte> payload);

  Queue<Event> events_;
  FrameReader reader_;
  TunnelState tunnel_;
  Streams streams_;
  Time now_;
  Time answers_progress_;  ///< When a frame left last, or few answers waited (SPEC 8.2).
};

}  // namespace culvert::protocol
