// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocol/events.hpp"
#include "protocol/fault.hpp"
#include "protocol/frame.hpp"
#include "protocol/liveness.hpp"
#include "protocol/messages.hpp"
#include "protocol/queue.hpp"

namespace culvert::protocol {

/// The tunnel as a whole (SPEC 8): greeting, pings, WIDEN, REPLICAS, enrolment, drain and end. It receives and composes
/// the frames of the tunnel, which have stream id 0, and knows nothing of streams. Lives in Session, which documents
/// the calls of the driver.
class TunnelState {
 public:
  /// `events` must outlive this. An agent's `hello` is the first frame to send.
  TunnelState(Role role, const Hello& hello, Queue<Event>& events, Time now);

  // ---- The driver's calls
  void welcome(const Welcome& message, Time now);
  void ask_to_widen(Time now);
  void tell_replicas(std::vector<std::string> names);
  void drain(Reason reason, std::chrono::milliseconds delay);
  void expect_join();
  void answer(const Enrolled& message);
  void renew(const Renew& message);

  // ---- In
  void received_bytes(Time now) { liveness_.received(now); }
  /// A frame other than PING came: the tunnel is in use.
  void received_use(Time now) { liveness_.received_data(now); }
  /// Any frame of the tunnel but GOAWAY, which concerns the streams too.
  [[nodiscard]] std::optional<Fault> receive(const FrameReader::Part& part, Time now);
  /// GOAWAY(draining).
  [[nodiscard]] std::optional<Fault> receive_draining(const Goaway& message);
  [[nodiscard]] std::optional<Fault> on_time(Time now);
  Time deadline() const { return join_due_ ? *join_due_ : liveness_.deadline(greeted_); }

  // ---- End
  /// Ends the tunnel by our own will: GOAWAY(final) is the last frame to send. `last_handled` is the highest id of the
  /// peer's streams that came.
  void end(Reason reason, std::string text, StreamId last_handled);
  /// The peer has ended it.
  void end_by_peer(Reason reason, std::string text);

  // ---- Out
  /// Writes as many of the waiting frames as `room` holds, in order. Returns their size.
  std::size_t write(std::span<std::byte> room);
  /// A frame waits that nothing may overtake.
  bool goes_first() const { return !frames_.empty() || final_; }
  /// A frame waits that needs more room than the last write() had.
  bool needs_room() const { return goes_first() || answer_owed_ || replicas_owed_; }
  /// Frames that count as answers (SPEC 8.2).
  std::size_t frames_queued() const { return frames_.size(); }

  bool is_greeted() const { return greeted_; }
  /// After the greeting.
  HeadForm head_form() const { return has_heads_ ? HeadForm::current : HeadForm::older; }
  /// expect_join() was called.
  bool is_join() const { return is_join_; }
  bool is_draining() const { return leave_.has_value(); }
  bool is_ended() const { return ended_; }
  bool allows_streams() const { return greeted_ && !ended_ && !peer_draining_; }
  std::optional<Time> round_trip() const { return liveness_.round_trip(); }
  std::optional<Time> round_trip_min() const { return liveness_.round_trip_min(); }

 private:
  /// Contents of GOAWAY(draining).
  struct Leave {
    Reason reason = Reason::shutdown;
    std::chrono::milliseconds delay{0};
  };

  void become_greeted(Time now);
  void send_leave(const Leave& leave);
  std::optional<Fault> receive_to_join(const FrameReader::Part& part, Time now);
  std::optional<Fault> receive_renew(std::span<const std::byte> payload, Time now);
  std::optional<Fault> receive_answer(FrameType type, std::span<const std::byte> payload);
  std::optional<Fault> receive_hello(std::span<const std::byte> payload);
  std::optional<Fault> receive_welcome(std::span<const std::byte> payload, Time now);
  std::optional<Fault> receive_ping(const FrameReader::Part& part, Time now);
  std::optional<Fault> receive_replicas(std::span<const std::byte> payload);
  void receive_widen(Time now);

  const Role role_;
  const std::uint32_t version_min_;
  const std::uint32_t version_max_;
  Queue<Event>& events_;
  Liveness liveness_;

  /// Of one RENEW, or of the JOIN of a join connection. `answered`: the answer has not left yet.
  enum class Enrolment : std::uint8_t { none, asked, answered };

  bool greeted_ = false;
  bool hello_seen_ = false;  ///< Server: HELLO came.
  bool is_join_ = false;     ///< Server: there is no greeting, but one JOIN or RENEW.
  bool has_heads_ = false;   ///< The capability `heads` is in force; until the greeting: HELLO offers it.
  bool peer_draining_ = false;
  bool ended_ = false;

  /// Once this side drains. GOAWAY(draining) waits for the greeting, which comes first.
  std::optional<Leave> leave_;
  Queue<std::vector<std::byte>> frames_;         ///< HELLO, WELCOME and GOAWAY(draining), whole.
  std::optional<std::vector<std::byte>> final_;  ///< GOAWAY(final), whole: nothing follows it.
  std::optional<std::vector<std::byte>> answer_owed_;
  std::optional<std::vector<std::byte>> replicas_owed_;
  std::optional<Time> ping_owed_;
  std::optional<std::uint64_t> pong_owed_;
  bool widen_owed_ = false;
  std::optional<Time> widen_seen_;  ///< When WIDEN came, or was asked for, last.
  Enrolment enrolment_ = Enrolment::none;
  std::optional<Time> renew_seen_;  ///< When RENEW came last.
  std::optional<Time> join_due_;    ///< When the answer on a join connection must have been given.
};

}  // namespace culvert::protocol
