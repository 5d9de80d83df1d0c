// SPDX-License-Identifier: Apache-2.0
#include "protocol/session.hpp"

#include <algorithm>
#include <utility>

#include "protocol/check.hpp"

namespace culvert::protocol {
namespace {

std::vector<std::byte> whole_frame(FrameType type, std::span<const std::byte> payload) {
  std::vector<std::byte> frame(frame_header_bytes + payload.size());
  encode_header({type, 0, 0, static_cast<std::uint32_t>(payload.size())}, std::span(frame).first<frame_header_bytes>());
  std::ranges::copy(payload, frame.begin() + frame_header_bytes);
  return frame;
}

}  // namespace

Session::Session(SessionOptions options, Time now)
    : options_(std::move(options)),
      liveness_(now),
      now_(now),
      next_own_id_(options_.role == Role::agent ? 1 : 2),
      control_progress_(now) {
  if (options_.role == Role::agent) tunnel_frames_.push_back(whole_frame(FrameType::hello, encode(options_.hello)));
}

Session::~Session() = default;

// ---- the tunnel

void Session::welcome(const Welcome& message) {
  check(options_.role == Role::server && hello_seen_ && !greeted_, "welcome() answers one HELLO");
  if (ended_) return;
  std::vector<std::byte> encoded = encode(message);
  const bool fits = encoded.size() <= greeting_payload_bytes_max;
  if (!fits) {
    Welcome rest = message;
    rest.replicas.clear();
    encoded = encode(rest);
  }
  tunnel_frames_.push_back(whole_frame(FrameType::welcome, encoded));
  become_greeted();
  if (!fits) tell_replicas(message.replicas);
}

/// Windows grow by the round trip, so the first PING measures it before the first stream needs it.
void Session::become_greeted() {
  greeted_ = true;
  ping_owed_ = now_;
  liveness_.pinged(now_);
}

void Session::ask_to_widen() {
  check(options_.role == Role::server, "the agent makes its tunnels without asking");
  if (ended_ || !greeted_ || (widen_seen_ && now_ - *widen_seen_ < widen_interval)) return;
  widen_seen_ = now_;
  widen_owed_ = true;
}

void Session::tell_replicas(std::vector<std::string> names) {
  check(options_.role == Role::server, "only servers have replicas");
  if (ended_ || !greeted_) return;
  replicas_owed_ = whole_frame(FrameType::replicas, encode(Replicas{std::move(names)}));
}

void Session::drain(Reason reason, std::chrono::milliseconds delay) {
  if (draining_ || ended_ || !greeted_) return;
  draining_ = true;
  tunnel_frames_.push_back(whole_frame(
      FrameType::goaway, encode(Goaway{Goaway::Kind::draining, reason, 0, delay, std::string(to_string(reason))})));
}

void Session::close(Reason reason, std::string text) {
  end(reason, false, std::move(text));
}

void Session::end(Reason reason, bool by_peer, std::string text) {
  if (ended_) return;
  ended_ = true;
  if (!by_peer) {
    final_ =
        whole_frame(FrameType::goaway,
                    encode(Goaway{Goaway::Kind::final, reason, last_peer_id_, std::chrono::milliseconds(0), text}));
  }
  incoming_ = nullptr;
  events_.push_back(Ended{reason, by_peer, std::move(text)});
}

/// The clock of a peer that does not read its answers starts when too many of them wait, not with the last one sent.
void Session::set_time(Time now) {
  now_ = now;
  if (control_frames_queued() <= control_frames_queued_max) control_progress_ = now;
}

void Session::on_time(Time now) {
  set_time(now);
  if (ended_) return;
  switch (liveness_.due(now, greeted_)) {
    case Liveness::Due::nothing: break;
    case Liveness::Due::ping: ping_owed_ = now; break;
    case Liveness::Due::dead:
      end(Reason::timed_out, false,
          greeted_ ? "no byte came for 12 s" : "the peer did not finish its greeting within 10 s");
      return;
  }
  if (now - control_progress_ >= control_stall_max) {
    end(Reason::flood, false, "the peer causes answers and does not read them");
  }
}

Time Session::deadline() const {
  if (ended_) return Time::max();
  const Time next = liveness_.deadline(greeted_);
  if (control_frames_queued() <= control_frames_queued_max) return next;
  return std::min(next, control_progress_ + control_stall_max);
}

std::size_t Session::control_frames_queued() const {
  return tunnel_frames_.size() + urgent_.size() + rejects_owed_;
}

// ---- streams

Stream* Session::find(StreamId id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

/// The stream that a call of the driver names; nullptr when its life is over, or the tunnel's.
Stream* Session::live(StreamId id) {
  Stream* stream = find(id);
  return stream == nullptr || ended_ || stream->state == StreamState::closed ? nullptr : stream;
}

bool Session::is_ours(StreamId id) const {
  return (id & 1) == (options_.role == Role::agent ? 1U : 0U);
}

/// Applies one event of ours, or of the peer, to the stream's state. False: the peer broke the protocol, the tunnel has
/// ended.
bool Session::step(Stream& stream, StreamEvent event) {
  const Transition result = transition(stream.state, event);
  switch (result.verdict) {
    case Transition::Verdict::go: stream.state = result.next; return true;
    case Transition::Verdict::discard: return true;
    case Transition::Verdict::breach: breach("a frame that the stream's state does not allow"); return false;
    case Transition::Verdict::defect: check(false, "we keep to the stream state table"); return false;
  }
  std::unreachable();
}

/// The stream's place in the scheduler follows from what it owes and may send.
void Session::refresh(Stream& stream) {
  const bool owes =
      stream.owes_open || stream.owes_accept || stream.owes_reject || stream.owes_reset || stream.owes_aborted_fin;
  const bool may_send = (stream.readable || !stream.owed_heads.empty()) && stream.send.available() > 0 &&
                        transition(stream.state, StreamEvent::send_data).verdict == Transition::Verdict::go;
  if (owes || may_send) {
    scheduler_.activate(stream);
  } else {
    scheduler_.deactivate(stream);
  }
}

/// The stream's life is over for the driver; what it still owes goes out without it.
void Session::forget(Stream& stream) {
  check(filling_ != &stream, "a stream outlives its slot: say how it ended with commit()");
  stream.state = StreamState::closed;
  stream.owed_heads.clear();
  stream.readable = stream.owes_credit = stream.owes_stop = false;
  if (incoming_ == &stream) incoming_ = nullptr;
  window_bytes_ -= stream.receive.window();
  events_.push_back(Forgotten{stream.id, std::exchange(stream.user, nullptr), stream.receive.window()});
  refresh(stream);
  erase_if_done(stream);
}

void Session::erase_if_done(Stream& stream) {
  if (stream.state != StreamState::closed || stream.owes_open || stream.owes_accept || stream.owes_reject ||
      stream.owes_reset || stream.owes_aborted_fin) {
    return;
  }
  if (stream.by_peer) --peer_streams_;
  scheduler_.remove(stream);
  streams_.erase(stream.id);
}

std::optional<StreamId> Session::open(const Open& message, void* user) {
  if (!may_open()) return std::nullopt;
  const StreamId id = next_own_id_;
  next_own_id_ += 2;
  if (next_own_id_ > options_.stream_id_max - 2) {
    // The last but one: from here on this tunnel only finishes what it has.
    ids_exhausted_ = true;
    drain(Reason::ids_exhausted, std::chrono::milliseconds(0));
  }
  Stream& stream =
      streams_.try_emplace(id, id, StreamState::opening, optimistic_bytes_max, message.credit, now_).first->second;
  stream.user = user;
  stream.owed_message = encode(message);
  stream.owes_open = true;
  window_bytes_ += message.credit;
  ++counters_.streams_opened;
  refresh(stream);
  return id;
}

void Session::attach(StreamId id, void* user) {
  if (Stream* stream = live(id)) stream->user = user;
}

void Session::accept(StreamId id, std::uint64_t window) {
  Stream* stream = live(id);
  if (stream == nullptr || !step(*stream, StreamEvent::send_accept)) return;
  // Until now the peer lived on the optimistic window, which the new one replaces.
  const std::uint64_t wanted = std::clamp<std::uint64_t>(window, optimistic_bytes_max, window_bytes_max);
  const std::uint64_t more = wanted - std::min(wanted, stream->receive.window());
  stream->receive.grow(more);
  window_bytes_ += more;
  stream->owes_accept = true;
  refresh(*stream);
}

void Session::reject(StreamId id, const Reject& message) {
  Stream* stream = live(id);
  if (stream == nullptr || !step(*stream, StreamEvent::send_reject)) return;
  stream->owed_message = encode(message);
  stream->owes_reject = true;
  ++rejects_owed_;
  forget(*stream);
}

void Session::send_head(StreamId id, std::vector<std::byte> message) {
  check(!message.empty() && message.size() <= head_payload_bytes_max, "a HEAD has its size");
  Stream* stream = live(id);
  if (stream == nullptr || transition(stream->state, StreamEvent::send_data).verdict != Transition::Verdict::go) return;
  stream->owed_heads.push_back(std::move(message));
  refresh(*stream);
}

void Session::set_readable(StreamId id) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  stream->readable = true;
  refresh(*stream);
}

void Session::take(StreamId id, std::uint64_t bytes) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  const bool due = stream->receive.take(bytes);
  const bool done = stream->state == StreamState::received_fin;
  if (done || stream->state == StreamState::offered || stream->state == StreamState::offered_finished) return;
  if (stream->receive.wants_growth(now_, liveness_.round_trip_min()) && window_bytes_ < tunnel_granted_bytes_max) {
    events_.push_back(WindowWanted{id, stream->receive.window()});
  }
  if (due && !stream->owes_credit) {
    stream->owes_credit = true;
    urgent_.push_back(id);
  }
}

std::uint64_t Session::grow_window(StreamId id, std::uint64_t more_bytes) {
  Stream* stream = live(id);
  if (stream == nullptr) return 0;
  const std::uint64_t tunnel_left = tunnel_granted_bytes_max - std::min(window_bytes_, tunnel_granted_bytes_max);
  const std::uint64_t more = std::min({more_bytes, window_bytes_max - stream->receive.window(), tunnel_left});
  stream->receive.grow(more);
  window_bytes_ += more;
  return more;
}

void Session::abort(StreamId id) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  const Transition result = transition(stream->state, StreamEvent::send_fin);
  if (result.verdict != Transition::Verdict::go) return;
  stream->readable = false;
  stream->owed_heads.clear();
  stream->owes_aborted_fin = true;
  stream->state = result.next;
  if (stream->state == StreamState::closed) {
    forget(*stream);
  } else {
    refresh(*stream);
  }
}

void Session::stop(StreamId id, Reason reason) {
  Stream* stream = live(id);
  if (stream == nullptr || stream->discards) return;
  if (stream->state != StreamState::open && stream->state != StreamState::sent_fin) return;
  stream->discards = true;
  stream->stop_reason = reason;
  stream->owes_stop = true;
  urgent_.push_back(id);
}

void Session::reset(StreamId id, Reason reason) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  if (stream->state == StreamState::offered || stream->state == StreamState::offered_finished) {
    reject(id, Reject{reason, false, std::string(to_string(reason))});
    return;
  }
  if (!step(*stream, StreamEvent::send_reset)) return;
  stream->owes_aborted_fin = false;
  if (std::exchange(stream->owes_open, false)) {
    // The peer never heard of it.
    stream->owed_message = std::vector<std::byte>();
  } else {
    stream->owes_reset = true;
    stream->reset_reason = reason;
  }
  forget(*stream);
}

std::vector<Session::Survivor> Session::survivors() const {
  std::vector<Survivor> all;
  for (const auto& [id, stream] : streams_) {
    if (stream.state != StreamState::closed) all.push_back({id, stream.user, stream.receive.window()});
  }
  return all;
}

}  // namespace culvert::protocol
