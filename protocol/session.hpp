// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "protocol/credit.hpp"
#include "protocol/frame.hpp"
#include "protocol/liveness.hpp"
#include "protocol/messages.hpp"
#include "protocol/queue.hpp"
#include "protocol/scheduler.hpp"
#include "protocol/stream.hpp"

// One side of one tunnel: bytes and a time come in, events and bytes go out (SPEC.md). The driver's duties, as a
// regular expression of calls:
//
//   in:   ( feed  next_event* )*          until next_event() has no more; Data spans live in the fed bytes.
//                                         Other calls make events too: run next_event() dry after them
//   out:  ( next_outgoing  commit? )*     into at least outgoing_bytes_min; frames are written by the session; a slot
//   is filled by the driver, then committed time: on_time() at deadline() or later
//
// Nothing here blocks, locks, logs or reads a clock. A stream that open() returned or that Opened named ends with
// exactly one Forgotten, unless the tunnel's Ended comes first: then nothing more is said about any stream.

namespace culvert::protocol {

enum class Role : std::uint8_t { agent, server };

// ---- Events

/// Server: the agent's HELLO. Answer with welcome() or close().
struct Greeted {
  Hello hello;
};
/// Agent: the server's WELCOME. Streams may be opened.
struct Welcomed {
  Welcome welcome;
};
/// The peer opened a stream: attach(), then accept() or reject() it, now or later.
struct Opened {
  StreamId stream = 0;
  Open open;
};
struct Accepted {
  StreamId stream = 0;
  void* user = nullptr;
};
/// The peer refused, or will never see, a stream that we opened. Forgotten follows.
struct Rejected {
  StreamId stream = 0;
  void* user = nullptr;
  Reject reject;
};
/// Bytes of a stream, in order. Report them with take() when the sink has them.
struct Data {
  StreamId stream = 0;
  void* user = nullptr;
  std::span<const std::byte> bytes;
};
/// One HEAD of a stream, in its place among Data, as it came (decode_head()). Report its size with take(), too.
struct HeadCame {
  StreamId stream = 0;
  void* user = nullptr;
  std::span<const std::byte> message;
};
/// No more Data of this stream. `aborted`: what came is cut off and must never be shown as whole.
struct Finished {
  StreamId stream = 0;
  void* user = nullptr;
  bool aborted = false;
};
/// Both directions ended. Forgotten follows.
struct WasReset {
  StreamId stream = 0;
  void* user = nullptr;
  Reason reason = Reason::none;
};
/// The peer wants no more of our bytes; the session has answered FIN(ABORTED) by itself. The source need not be read
/// any more.
struct Stopped {
  StreamId stream = 0;
  void* user = nullptr;
  Reason reason = Reason::none;
};
/// The session knows nothing more of the stream; `window_bytes` go back to the memory budget.
struct Forgotten {
  StreamId stream = 0;
  void* user = nullptr;
  std::uint64_t window_bytes = 0;
};
/// The stream is held back by its window. Answer with grow_window() or not at all.
struct WindowWanted {
  StreamId stream = 0;
  std::uint64_t more_bytes = 0;
};
/// Agent: the server's sending is limited by congestion; one more tunnel in the link would help (SPEC 8.4).
struct WidenWanted {};
/// Agent: the server processes that are ready now (SPEC 5.8).
struct ReplicasChanged {
  std::vector<std::string> names;
};
/// The peer will take no new streams; leave within `delay`.
struct PeerDraining {
  Reason reason = Reason::none;
  std::chrono::milliseconds delay{0};
};
/// The tunnel is over. Send what next_outgoing() still has (our GOAWAY), then close.
struct Ended {
  Reason reason = Reason::none;
  bool by_peer = false;
  std::string text;
};

using Event = std::variant<Greeted, Welcomed, Opened, Accepted, Rejected, Data, HeadCame, Finished, WasReset, Stopped,
                           Forgotten, WindowWanted, WidenWanted, ReplicasChanged, PeerDraining, Ended>;

// ---- Output

/// Room in the driver's staging buffer for the payload of one DATA frame. `user` says whose bytes are wanted.
struct Slot {
  StreamId stream;
  void* user;
  std::span<std::byte> payload;
};
/// What next_outgoing() did with the room.
struct Outgoing {
  enum class Kind : std::uint8_t {
    nothing,  ///< There is nothing to send.
    full,     ///< There is, but `room` is too small for it.
    frames,   ///< `bytes` of whole frames were written at the start of `room`.
    slot,     ///< Fill `slot`, then commit().
  };
  Kind kind = Kind::nothing;
  std::size_t bytes = 0;
  Slot slot{};
};
/// What a source said while its slot was filled.
enum class Source : std::uint8_t {
  more,     ///< It may have more.
  blocked,  ///< It has nothing now: set_readable() when it has.
  ended,    ///< Clean end: FIN.
  aborted,  ///< It failed, the other direction may live on: FIN(ABORTED).
};

struct SessionOptions {
  Role role = Role::agent;
  Hello hello;  ///< Agent only: sent at once.
  std::uint32_t streams_max =
      protocol::streams_max;  ///< That the peer may have open here; beyond: REJECT(overloaded, retryable).
  StreamId stream_id_max = protocol::stream_id_max;  ///< For tests of a tunnel that runs out of ids.
};

/// For metrics. Plain numbers of this tunnel.
struct SessionCounters {
  std::uint64_t streams_opened = 0;    ///< By us.
  std::uint64_t streams_accepted = 0;  ///< Opened by the peer.
  std::uint64_t late_frames = 0;       ///< For streams that are gone; discarded.
  std::uint64_t stale_credits = 0;
  std::uint64_t overloaded = 0;  ///< OPENs refused at streams_max.
};

/// The least staging buffer of a driver: the longest HEAD, with its header, and some.
inline constexpr std::size_t outgoing_bytes_min = head_payload_bytes_max + 1'024;

class Session {
 public:
  Session(SessionOptions options, Time now);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // ---- in
  /// Only when next_event() has no more. `bytes` must stay until then.
  void feed(std::span<const std::byte> bytes, Time now);
  std::optional<Event> next_event();
  void on_time(Time now);
  /// When on_time() is due; Time::max() once the tunnel has ended.
  Time deadline() const;

  // ---- the tunnel
  /// Server, once, after Greeted. A list of replicas that is too long for a greeting goes out behind it.
  void welcome(const Welcome& message);
  /// Server: asks for one more tunnel in the link. At most once per widen_interval.
  void ask_to_widen();
  /// Server, after welcome(): the replicas that are ready now. Only the latest list goes out.
  void tell_replicas(std::vector<std::string> names);
  /// Asks the peer to open nothing more here. Streams live on.
  void drain(Reason reason, std::chrono::milliseconds delay);
  /// Ends the tunnel: GOAWAY(final), then nothing. Ended is the last event.
  void close(Reason reason, std::string text);
  bool may_open() const { return greeted_ && !ended_ && !peer_draining_ && !ids_exhausted_; }
  bool is_draining() const { return draining_; }
  bool is_ended() const { return ended_; }

  // ---- streams
  /// Opens one; `message.credit` is its receive window. nullopt when may_open() is false.
  std::optional<StreamId> open(const Open& message, void* user);
  void attach(StreamId id, void* user);
  void accept(StreamId id, std::uint64_t window_bytes);
  void reject(StreamId id, const Reject& message);
  /// The stream's source has bytes, its end, or a failure to give.
  void set_readable(StreamId id);
  /// A HEAD, encoded, goes out before any Data whose slot has not been given yet. Not after the stream's end.
  void send_head(StreamId id, std::vector<std::byte> message);
  /// The sink took so many bytes of Data or HeadCame.
  void take(StreamId id, std::uint64_t bytes);
  /// Returns how much was used: nothing when the stream ended meanwhile, less at window_bytes_max and at
  /// tunnel_granted_bytes_max. The rest goes back to the budget.
  std::uint64_t grow_window(StreamId id, std::uint64_t more_bytes);
  /// The source failed without having been asked: FIN(ABORTED).
  void abort(StreamId id);
  /// Asks the peer to end its sending direction. Data that still comes is dropped.
  void stop(StreamId id, Reason reason);
  /// Ends both directions. Before our ACCEPT it is a REJECT.
  void reset(StreamId id, Reason reason);
  /// False: it was forgotten, or the tunnel has ended; calls that name the stream do nothing.
  bool knows(StreamId id) { return live(id) != nullptr; }

  // ---- out
  /// `room` is the rest of a staging buffer that had outgoing_bytes_min when it was empty: then `full` means that it is
  /// time to send.
  Outgoing next_outgoing(std::span<std::byte> room);
  /// Fills the slot with its first `bytes`. Returns how much of the room is used now, frame headers included.
  std::size_t commit(std::size_t bytes, Source source);
  /// As commit(0, …), for a source that was reset: RESET.
  std::size_t commit_reset(Reason reason);

  /// After Ended: the streams that got no Forgotten, for the driver to end.
  struct Survivor {
    StreamId id;
    void* user;
    std::uint64_t window_bytes;
  };
  std::vector<Survivor> survivors() const;

  // ---- what it is like now
  std::size_t streams() const { return streams_.size(); }
  std::uint64_t window_bytes() const { return window_bytes_; }
  std::optional<Time> round_trip() const { return liveness_.round_trip(); }
  std::optional<Time> round_trip_min() const { return liveness_.round_trip_min(); }
  const SessionCounters& counters() const { return counters_; }
  std::uint64_t frames_skipped() const { return reader_.skipped(); }
  bool is_greeted() const { return greeted_; }

 private:
  // session.cpp
  void set_time(Time now);
  void become_greeted();
  void end(Reason reason, bool by_peer, std::string text);
  Stream* find(StreamId id);
  Stream* live(StreamId id);
  bool is_ours(StreamId id) const;
  bool step(Stream& stream, StreamEvent event);
  void refresh(Stream& stream);
  void forget(Stream& stream);
  void erase_if_done(Stream& stream);
  std::size_t control_frames_queued() const;

  // session_receive.cpp
  void receive(const FrameReader::Part& part);
  void receive_tunnel_frame(const FrameReader::Part& part);
  void receive_hello(std::span<const std::byte> payload);
  void receive_welcome(std::span<const std::byte> payload);
  void receive_goaway(std::span<const std::byte> payload);
  void receive_ping(const FrameReader::Part& part);
  void receive_widen();
  void receive_replicas(std::span<const std::byte> payload);
  void receive_open(const FrameReader::Part& part);
  void receive_stream_frame(Stream& stream, const FrameReader::Part& part);
  bool receive_data(const FrameReader::Part& part);
  std::optional<HeadCame> receive_head(const FrameReader::Part& part);
  void begin_data(const FrameReader::Part& part);
  Stream* stream_of(const FrameReader::Part& part);
  void breach(std::string text) { end(Reason::protocol, false, std::move(text)); }

  // session_send.cpp
  std::size_t write_control(std::span<std::byte> room);
  std::size_t write_owed(Stream& stream, std::span<std::byte> room);
  std::size_t write_head(Stream& stream, std::span<std::byte> room);
  std::size_t end_sending(Stream& stream, std::span<std::byte> room, bool aborted);

  SessionOptions options_;
  FrameReader reader_;
  Liveness liveness_;
  Scheduler scheduler_;
  std::unordered_map<StreamId, Stream> streams_;
  Queue<Event> events_;
  SessionCounters counters_;
  Time now_;

  bool greeted_ = false;
  bool hello_seen_ = false;
  bool draining_ = false;
  bool peer_draining_ = false;
  bool ids_exhausted_ = false;
  bool ended_ = false;

  StreamId next_own_id_;
  StreamId last_peer_id_ = 0;
  std::uint32_t peer_streams_ = 0;
  std::uint64_t window_bytes_ = 0;

  /// The stream whose DATA frame is being read; nullptr while a discarded one is.
  Stream* incoming_ = nullptr;

  Queue<std::vector<std::byte>> tunnel_frames_;  ///< HELLO, WELCOME, GOAWAY(draining), whole.
  std::optional<std::vector<std::byte>> final_;  ///< GOAWAY(final): nothing follows it.
  std::optional<std::vector<std::byte>> replicas_owed_;
  std::optional<Time> ping_owed_;
  std::optional<std::uint64_t> pong_owed_;
  bool widen_owed_ = false;
  std::optional<Time> widen_seen_;  ///< When WIDEN came last, or was asked for.
  Queue<StreamId> urgent_;          ///< Streams that owe CREDIT or STOP.
  std::size_t rejects_owed_ = 0;
  Time control_progress_;

  Stream* filling_ = nullptr;  ///< Whose slot is out.
  std::span<std::byte> filling_room_;
};

}  // namespace culvert::protocol
