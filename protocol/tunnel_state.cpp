// SPDX-License-Identifier: Apache-2.0
#include "protocol/tunnel_state.hpp"

#include <algorithm>
#include <utility>

#include "protocol/bytes.hpp"
#include "protocol/check.hpp"
#include "protocol/frame_writer.hpp"

namespace culvert::protocol {
namespace {

std::vector<std::byte> whole_frame(FrameType type, std::span<const std::byte> payload) {
  std::vector<std::byte> frame(frame_header_bytes + payload.size());
  (void)write_frame(frame, type, 0, payload);
  return frame;
}

/// False: the room behind the `used` bytes is too small for the frame.
bool write_whole(const std::vector<std::byte>& frame, std::span<std::byte> room, std::size_t& used) {
  if (frame.size() > room.size() - used) return false;
  std::ranges::copy(frame, room.begin() + static_cast<std::ptrdiff_t>(used));
  used += frame.size();
  return true;
}

}  // namespace

TunnelState::TunnelState(Role role, const Hello& hello, Queue<Event>& events, Time now)
    : role_(role), version_min_(hello.version_min), version_max_(hello.version_max), events_(events), liveness_(now) {
  if (role == Role::server) return;
  has_heads_ = has_capability(hello.capabilities, heads_capability);
  frames_.push_back(whole_frame(FrameType::hello, encode(hello)));
}

// ---- The driver's calls

void TunnelState::welcome(const Welcome& message, Time now) {
  check(role_ == Role::server && hello_seen_ && !greeted_, "welcome() answers one HELLO");
  if (ended_) return;
  has_heads_ = has_heads_ && has_capability(message.capabilities, heads_capability);
  std::vector<std::byte> encoded = encode(message);
  const bool fits = encoded.size() <= greeting_payload_bytes_max;
  if (!fits) {
    Welcome rest = message;
    rest.replicas.clear();
    encoded = encode(rest);
  }
  frames_.push_back(whole_frame(FrameType::welcome, encoded));
  become_greeted(now);
  if (!fits) tell_replicas(message.replicas);
}

/// Windows grow by the round trip, so the first PING measures it before the first stream needs it.
void TunnelState::become_greeted(Time now) {
  greeted_ = true;
  ping_owed_ = now;
  liveness_.pinged(now);
  if (leave_) send_leave(*leave_);
}

void TunnelState::ask_to_widen(Time now) {
  check(role_ == Role::server, "the agent makes its tunnels without asking");
  if (ended_ || !greeted_ || (widen_seen_ && now - *widen_seen_ < widen_interval)) return;
  widen_seen_ = now;
  widen_owed_ = true;
}

void TunnelState::tell_replicas(std::vector<std::string> names) {
  check(role_ == Role::server, "only servers have replicas");
  if (ended_ || !greeted_) return;
  replicas_owed_ = whole_frame(FrameType::replicas, encode(Replicas{std::move(names)}));
}

void TunnelState::drain(Reason reason, std::chrono::milliseconds delay) {
  if (leave_ || ended_) return;
  leave_ = Leave{reason, delay};
  if (greeted_) send_leave(*leave_);
}

void TunnelState::send_leave(const Leave& leave) {
  frames_.push_back(whole_frame(FrameType::goaway, encode(Goaway{Goaway::Kind::draining, leave.reason, 0, leave.delay,
                                                                 std::string(to_string(leave.reason))})));
}

void TunnelState::expect_join() {
  check(role_ == Role::server && !hello_seen_, "expect_join() comes before the first frame");
  is_join_ = true;
}

void TunnelState::answer(const Enrolled& message) {
  check(enrolment_ == Enrolment::asked, "answer() answers one JOIN or RENEW");
  answer_owed_ = answer_frame(message);
  enrolment_ = Enrolment::answered;
}

void TunnelState::renew(const Renew& message) {
  check(role_ == Role::agent && greeted_, "the agent asks after the greeting");
  check(enrolment_ == Enrolment::none, "one request at a time");
  check(message.certificate.empty() && message.signature.empty(), "the tunnel proves who asks");
  if (ended_) return;
  frames_.push_back(renew_frame(message));
  enrolment_ = Enrolment::asked;
}

// ---- End

void TunnelState::end(Reason reason, std::string text, StreamId last_handled) {
  final_ = whole_frame(FrameType::goaway,
                       encode(Goaway{Goaway::Kind::final, reason, last_handled, std::chrono::milliseconds(0), text}));
  replicas_owed_.reset();
  ended_ = true;
  events_.push_back(Ended{reason, false, std::move(text)});
}

void TunnelState::end_by_peer(Reason reason, std::string text) {
  answer_owed_.reset();
  replicas_owed_.reset();
  ended_ = true;
  events_.push_back(Ended{reason, true, std::move(text)});
}

// ---- In

std::optional<Fault> TunnelState::on_time(Time now) {
  if (join_due_) {
    if (now < *join_due_) return std::nullopt;
    return Fault{Reason::timed_out, "the request for a certificate was not answered within 60 s"};
  }
  switch (liveness_.due(now, greeted_)) {
    case Liveness::Due::nothing: break;
    case Liveness::Due::ping: ping_owed_ = now; break;
    case Liveness::Due::dead:
      return Fault{Reason::timed_out,
                   greeted_ ? "no byte came for 12 s" : "the peer did not finish its greeting within 10 s"};
  }
  return std::nullopt;
}

std::optional<Fault> TunnelState::receive(const FrameReader::Part& part, Time now) {
  if (is_join_) return receive_to_join(part, now);
  const FrameType type = part.header.type;
  const bool first = role_ == Role::server ? !hello_seen_ : !greeted_;
  const FrameType greeting = role_ == Role::server ? FrameType::hello : FrameType::welcome;
  if (first != (type == greeting)) return Fault{.text = "a second greeting, or another frame instead of the first"};
  if (type == FrameType::hello && first) return receive_hello(part.payload);
  if (type == FrameType::welcome && first) return receive_welcome(part.payload, now);
  if (type == FrameType::ping && greeted_) return receive_ping(part, now);
  if (type == FrameType::renew && role_ == Role::server && greeted_) return receive_renew(part.payload, now);
  if (role_ == Role::agent && greeted_) {
    if (type == FrameType::replicas) return receive_replicas(part.payload);
    if (type == FrameType::issued || type == FrameType::denied) return receive_answer(type, part.payload);
    if (type == FrameType::widen) {
      receive_widen(now);
      return std::nullopt;
    }
  }
  return Fault{.text = "a frame from the wrong side, or a PING before the greeting"};
}

/// The first frame of a join connection, and the last.
std::optional<Fault> TunnelState::receive_to_join(const FrameReader::Part& part, Time now) {
  if (join_due_) return Fault{.text = "a second frame on a join connection"};
  if (part.header.type == FrameType::join) {
    auto join = decode_join(part.payload);
    if (!join) return Fault{.text = "a malformed JOIN"};
    events_.push_back(JoinAsked{std::move(*join)});
  } else if (part.header.type == FrameType::renew) {
    auto renew = decode_renew(part.payload);
    if (!renew) return Fault{.text = "a malformed RENEW"};
    if (renew->certificate.empty()) return Fault{.text = "a RENEW without certificate on a join connection"};
    events_.push_back(RenewAsked{std::move(*renew)});
  } else {
    return Fault{.text = "a join connection begins with JOIN or RENEW"};
  }
  enrolment_ = Enrolment::asked;
  join_due_ = now + enrolment_time_max;
  return std::nullopt;
}

std::optional<Fault> TunnelState::receive_renew(std::span<const std::byte> payload, Time now) {
  if (enrolment_ != Enrolment::none) return Fault{Reason::flood, "RENEW before the answer to the last one"};
  if (renew_seen_ && now - *renew_seen_ < renew_interval_min) return Fault{Reason::flood, "two RENEW within 500 ms"};
  auto renew = decode_renew(payload);
  if (!renew) return Fault{.text = "a malformed RENEW"};
  if (!renew->certificate.empty()) return Fault{.text = "a RENEW with a certificate of its own on a tunnel"};
  renew_seen_ = now;
  enrolment_ = Enrolment::asked;
  events_.push_back(RenewAsked{std::move(*renew)});
  return std::nullopt;
}

std::optional<Fault> TunnelState::receive_answer(FrameType type, std::span<const std::byte> payload) {
  if (enrolment_ != Enrolment::asked) return Fault{.text = "an answer without RENEW"};
  if (type == FrameType::issued) {
    auto issued = decode_issued(payload);
    if (!issued) return Fault{.text = "a malformed ISSUED"};
    events_.push_back(RenewAnswered{std::move(*issued)});
  } else {
    auto denied = decode_denied(payload);
    if (!denied) return Fault{.text = "a malformed DENIED"};
    events_.push_back(RenewAnswered{std::move(*denied)});
  }
  enrolment_ = Enrolment::none;
  return std::nullopt;
}

std::optional<Fault> TunnelState::receive_hello(std::span<const std::byte> payload) {
  auto hello = decode_hello(payload);
  if (!hello) return Fault{.text = "a malformed HELLO"};
  hello_seen_ = true;
  has_heads_ = has_capability(hello->capabilities, heads_capability);
  events_.push_back(Greeted{std::move(*hello)});
  return std::nullopt;
}

std::optional<Fault> TunnelState::receive_welcome(std::span<const std::byte> payload, Time now) {
  auto welcome = decode_welcome(payload);
  if (!welcome) return Fault{.text = "a malformed WELCOME"};
  if (welcome->version < version_min_ || welcome->version > version_max_) {
    return Fault{Reason::version, "the server chose a version that was not offered"};
  }
  has_heads_ = has_heads_ && has_capability(welcome->capabilities, heads_capability);
  become_greeted(now);
  events_.push_back(Welcomed{std::move(*welcome)});
  return std::nullopt;
}

std::optional<Fault> TunnelState::receive_draining(const Goaway& message) {
  if (!greeted_) return Fault{.text = "GOAWAY(draining) before the greeting"};
  if (!std::exchange(peer_draining_, true)) events_.push_back(PeerDraining{message.reason, message.delay});
  return std::nullopt;
}

std::optional<Fault> TunnelState::receive_ping(const FrameReader::Part& part, Time now) {
  const auto stamp = load<std::uint64_t>(part.payload);
  if ((part.header.flags & flag_pong) != 0) {
    liveness_.pong(Time(static_cast<Time::rep>(stamp)), now);
  } else if (!liveness_.allow_ping(now)) {
    return Fault{Reason::flood, "more than 10 pings per second"};
  } else {
    pong_owed_ = stamp;
  }
  return std::nullopt;
}

/// Several within one interval count as one.
void TunnelState::receive_widen(Time now) {
  if (widen_seen_ && now - *widen_seen_ < widen_interval) return;
  widen_seen_ = now;
  events_.push_back(WidenWanted{});
}

std::optional<Fault> TunnelState::receive_replicas(std::span<const std::byte> payload) {
  auto replicas = decode_replicas(payload);
  if (!replicas) return Fault{.text = "a malformed REPLICAS"};
  events_.push_back(ReplicasChanged{std::move(replicas->names)});
  return std::nullopt;
}

// ---- Out

std::size_t TunnelState::write(std::span<std::byte> room) {
  std::size_t used = 0;
  while (!frames_.empty() && write_whole(frames_.front(), room, used)) frames_.pop_front();
  if (!frames_.empty()) return used;
  if (answer_owed_ && write_whole(*answer_owed_, room, used)) {
    answer_owed_.reset();
    enrolment_ = Enrolment::none;
  }
  if (answer_owed_) return used;
  if (final_ && write_whole(*final_, room, used)) final_.reset();
  if (ended_) return used;
  if (replicas_owed_ && write_whole(*replicas_owed_, room, used)) replicas_owed_.reset();
  if (const auto stamp = pong_owed_; stamp && room.size() - used >= number_frame_bytes) {
    used += write_number_frame(room.subspan(used), FrameType::ping, flag_pong, 0, *stamp);
    pong_owed_.reset();
  }
  if (const auto sent = ping_owed_; sent && room.size() - used >= number_frame_bytes) {
    used += write_number_frame(room.subspan(used), FrameType::ping, 0, 0, static_cast<std::uint64_t>(sent->count()));
    ping_owed_.reset();
  }
  if (widen_owed_ && room.size() - used >= frame_header_bytes) {
    used += write_empty_frame(room.subspan(used), FrameType::widen, 0, 0);
    widen_owed_ = false;
  }
  return used;
}

}  // namespace culvert::protocol
