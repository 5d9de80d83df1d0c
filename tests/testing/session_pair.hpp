// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/session.hpp"

namespace culvert::protocol {

using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::string_view text);
Bytes joined(std::initializer_list<Bytes> parts);
/// One frame, valid or not.
Bytes frame(FrameType type, StreamId stream, const Bytes& payload = {}, std::uint8_t flags = 0);
Bytes number_frame(FrameType type, StreamId stream, std::uint64_t value, std::uint8_t flags = 0);
Bytes reason_frame(FrameType type, StreamId stream, Reason reason);
Bytes open_frame(StreamId stream, std::string_view name = "web", std::uint64_t credit = window_bytes_start);
Bytes hello_frame();
Bytes welcome_frame(std::uint32_t version = 1);

/// A Session with the simplest driver. It records each event as a line ("data 1 hello"; a run of Data is one line), has
/// one text to send per stream, and takes what comes unless `takes` is false.
class Side {
 public:
  Side(SessionOptions options, const Time& now) : session(std::move(options), now), now_(&now) {}

  StreamId open(std::string_view name, std::uint64_t credit = window_bytes_start);
  void accept(StreamId id, std::uint64_t window = window_bytes_start) { session.accept(id, window); }
  /// Appends to what the stream sends.
  void write(StreamId id, std::string_view text);
  /// How the stream ends after the text of write(): clean end, failure, or reset.
  void finish(StreamId id, Source how = Source::ended);
  void finish_by_reset(StreamId id, Reason reason);

  void receive(const Bytes& bytes);
  /// Everything that the session has to send, written into rooms of this size.
  Bytes send(std::size_t room_bytes = 131'072);
  /// Records the events until next_event() has no more. Needed after direct calls of `session`.
  void collect();

  /// The lines since the start or since clear_events().
  const std::vector<std::string>& events() const { return events_; }
  void clear_events() { events_.clear(); }
  bool saw(std::string_view line) const;
  /// Why the tunnel ended; Reason::none until then.
  Reason end_reason() const { return end_reason_; }
  /// The bytes received on the stream so far.
  const std::string& text(StreamId id) { return streams_[id].received; }

  Session session;
  bool takes = true;                        ///< Data is taken as it comes.
  bool accepts = true;                      ///< Opened is accepted at once.
  bool welcomes = true;                     ///< Greeted is welcomed at once.
  std::optional<Enrolled> answer;           ///< JoinAsked and RenewAsked are answered at once, if with anything.
  std::uint64_t growth_bytes_max = 0;       ///< WindowWanted is granted up to this.
  std::size_t slot_bytes_max = UINT64_MAX;  ///< The most that a source gives at once.

 private:
  struct Stream {
    std::string to_send;
    std::string received;
    Source then = Source::blocked;
    Reason reset = Reason::none;
  };
  void note(const Event& event);
  std::size_t fill(const Slot& slot);

  const Time* now_;
  std::vector<std::string> events_;
  StreamId last_data_ = 0;
  Reason end_reason_ = Reason::none;
  std::map<StreamId, Stream> streams_;
};

/// Two sides joined by a pipe that loses nothing.
class SessionPair {
 public:
  explicit SessionPair(SessionOptions agent_options = {}, SessionOptions server_options = {});

  /// Carries bytes until neither side has more to send.
  void pump();
  /// Lets time pass: on_time() of both sides at each deadline on the way, with pumps.
  void pass(Time duration);
  /// All bytes sent to the server, and to the agent, so far.
  const Bytes& to_server() const { return to_server_; }
  const Bytes& to_agent() const { return to_agent_; }

  Time now{1'000'000};
  Side agent;
  Side server;

 private:
  Bytes to_server_;
  Bytes to_agent_;
};

/// A base class, so that it exists before the Side that reads it.
struct Clock {
  Time now{1'000'000};
};

/// One greeted side without a peer: tests feed it frames.
class LoneSide : public Clock, public Side {
 public:
  explicit LoneSide(Role role, SessionOptions options = {});
};

}  // namespace culvert::protocol
