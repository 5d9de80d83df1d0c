// SPDX-License-Identifier: Apache-2.0
#include "protocol/streams.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "protocol/check.hpp"

namespace culvert::protocol {

Streams::Streams(StreamTable table, std::uint32_t peer_streams_max, Queue<Event>& events)
    : table_(std::move(table)), peer_streams_max_(peer_streams_max), events_(events) {}

/// The stream that a call of the driver names; nullptr when its life is over, or the tunnel's.
Stream* Streams::live(StreamId id) {
  Stream* stream = table_.find(id);
  return stream == nullptr || ended_ || stream->state == StreamState::closed ? nullptr : stream;
}

/// Applies an event of our own side to the stream's state.
void Streams::step(Stream& stream, StreamEvent event) {
  const Transition result = transition(stream.state, event);
  check(result.verdict == Transition::Verdict::go, "we keep to the stream state table");
  stream.state = result.next;
}

/// Whether the stream takes part in the scheduler's rounds follows from what it owes and may send.
void Streams::refresh(Stream& stream) {
  const bool may_send = (stream.readable || !stream.owed_heads.empty()) && stream.send.available() > 0 &&
                        transition(stream.state, StreamEvent::send_data).verdict == Transition::Verdict::go;
  if (stream.owes_frame() || may_send) {
    scheduler_.activate(stream);
  } else {
    scheduler_.deactivate(stream);
  }
}

/// The stream's life is over for the driver. What it still owes is sent without the driver.
void Streams::forget(Stream& stream) {
  check(filling_ != &stream, "a stream outlives its slot: say how it ended with commit()");
  stream.state = StreamState::closed;
  stream.owed_heads.clear();
  stream.readable = stream.owes_credit = stream.owes_stop = false;
  if (incoming_ == &stream) incoming_ = nullptr;
  table_.release(stream);
  events_.push_back(Forgotten{stream.id, std::exchange(stream.user, nullptr), stream.receive.window()});
  refresh(stream);
  erase_if_done(stream);
}

/// After a state that may be the last.
void Streams::settle(Stream& stream) {
  stream.state == StreamState::closed ? forget(stream) : refresh(stream);
}

void Streams::erase_if_done(Stream& stream) {
  if (stream.state != StreamState::closed || stream.owes_frame()) return;
  scheduler_.remove(stream);
  table_.erase(stream);
}

// ---- The driver's calls

StreamId Streams::open(const Open& message, void* user, Time now) {
  Stream& stream = table_.open(message.credit, now);
  stream.user = user;
  stream.owed_message = encode(message);
  stream.owes_open = true;
  ++counters_.streams_opened;
  refresh(stream);
  return stream.id;
}

void Streams::attach(StreamId id, void* user) {
  if (Stream* stream = live(id)) stream->user = user;
}

void Streams::accept(StreamId id, std::uint64_t window) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  step(*stream, StreamEvent::send_accept);
  // Until now the peer had the optimistic window, which the new one replaces.
  const std::uint64_t wanted = std::clamp<std::uint64_t>(window, optimistic_bytes_max, window_bytes_max);
  table_.grow(*stream, wanted - std::min(wanted, stream->receive.window()));
  stream->owes_accept = true;
  stream->owes_pending = false;
  refresh(*stream);
}

void Streams::reject(StreamId id, const Reject& message) {
  if (Stream* stream = live(id)) reject(*stream, message);
}

void Streams::reject(Stream& stream, const Reject& message) {
  step(stream, StreamEvent::send_reject);
  stream.owed_message = encode(message);
  stream.owes_reject = true;
  stream.owes_pending = false;
  ++rejects_owed_;
  forget(stream);
}

void Streams::announce_dial_time(StreamId id, std::chrono::milliseconds time) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  if (stream->state != StreamState::offered && stream->state != StreamState::offered_finished) return;
  stream->pending_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(time.count(), 0, pending_ms_max));
  if (!std::exchange(stream->owes_pending, true)) urgent_.push_back(id);
}

void Streams::send_head(StreamId id, std::vector<std::byte> message) {
  check(!message.empty() && message.size() <= head_payload_bytes_max,
        "a HEAD has at least 1 byte and at most head_payload_bytes_max");
  Stream* stream = live(id);
  if (stream == nullptr || transition(stream->state, StreamEvent::send_data).verdict != Transition::Verdict::go) return;
  stream->owed_heads.push_back(std::move(message));
  refresh(*stream);
}

void Streams::set_readable(StreamId id) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  stream->readable = true;
  refresh(*stream);
}

void Streams::take(StreamId id, std::uint64_t bytes, Time now, std::optional<Time> round_trip_min) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  const bool due = stream->receive.take(bytes);
  const bool done = stream->state == StreamState::received_fin || stream->discards;
  if (done || stream->state == StreamState::offered || stream->state == StreamState::offered_finished) return;
  if (stream->receive.wants_growth(now, round_trip_min) && table_.window_bytes() < tunnel_granted_bytes_max) {
    events_.push_back(WindowWanted{id, stream->receive.window()});
  }
  if (due && !stream->owes_credit) {
    stream->owes_credit = true;
    urgent_.push_back(id);
  }
}

std::uint64_t Streams::grow_window(StreamId id, std::uint64_t more_bytes) {
  Stream* stream = live(id);
  if (stream == nullptr) return 0;
  const std::uint64_t granted = std::min(table_.window_bytes(), tunnel_granted_bytes_max);
  const std::uint64_t tunnel_left = tunnel_granted_bytes_max - granted;
  const std::uint64_t more = std::min({more_bytes, window_bytes_max - stream->receive.window(), tunnel_left});
  table_.grow(*stream, more);
  return more;
}

void Streams::abort(StreamId id) {
  if (Stream* stream = live(id)) abort(*stream);
}

void Streams::abort(Stream& stream) {
  const Transition result = transition(stream.state, StreamEvent::send_fin);
  if (result.verdict != Transition::Verdict::go) return;
  stream.readable = false;
  stream.owed_heads.clear();
  stream.owes_aborted_fin = true;
  stream.state = result.next;
  settle(stream);
}

void Streams::stop(StreamId id, Reason reason) {
  Stream* stream = live(id);
  if (stream == nullptr || stream->discards) return;
  if (stream->state != StreamState::open && stream->state != StreamState::sent_fin) return;
  stream->discards = true;
  stream->owes_credit = false;
  stream->stop_reason = reason;
  stream->owes_stop = true;
  urgent_.push_back(id);
}

void Streams::reset(StreamId id, Reason reason) {
  Stream* stream = live(id);
  if (stream == nullptr) return;
  if (stream->state == StreamState::offered || stream->state == StreamState::offered_finished) {
    return reject(*stream, Reject{reason, false, std::string(to_string(reason))});
  }
  step(*stream, StreamEvent::send_reset);
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

}  // namespace culvert::protocol
