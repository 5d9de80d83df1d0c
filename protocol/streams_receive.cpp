// SPDX-License-Identifier: Apache-2.0
// The receiving half of Streams: frames to events.
#include <algorithm>
#include <utility>

#include "protocol/bytes.hpp"
#include "protocol/check.hpp"
#include "protocol/streams.hpp"

namespace culvert::protocol {
namespace {

Reason reason_in(std::span<const std::byte> payload) {
  return reason_of(load<std::uint32_t>(payload)).value_or(Reason::internal);
}

}  // namespace

/// The stream that a frame is for; nullptr when it is gone (counted).
std::expected<Stream*, Fault> Streams::stream_of(const FrameReader::Part& part) {
  const StreamId id = part.header.stream;
  if (Stream* stream = table_.find(id)) {
    if (stream->owes_open) return std::unexpected(Fault{.text = "an answer to a stream that was not opened yet"});
    if (stream->state != StreamState::closed) return stream;
  } else if (!table_.was_used(id)) {
    return std::unexpected(Fault{.text = "a frame for a stream that was never opened"});
  }
  ++counters_.late_frames;
  return nullptr;
}

/// Applies an event of the peer to the stream's state.
std::optional<Fault> Streams::step_received(Stream& stream, StreamEvent event) {
  const Transition result = transition(stream.state, event);
  if (result.verdict == Transition::Verdict::breach) {
    return Fault{.text = "a frame that the stream's state does not allow"};
  }
  check(result.verdict == Transition::Verdict::go, "a stream that is gone receives nothing");
  stream.state = result.next;
  return std::nullopt;
}

/// The stream that DATA or HEAD is for, which its state allows; nullptr when it is gone.
std::expected<Stream*, Fault> Streams::stream_with_payload(const FrameReader::Part& part) {
  const auto stream = stream_of(part);
  if (!stream || *stream == nullptr) return stream;
  if (const auto fault = step_received(**stream, StreamEvent::receive_data)) return std::unexpected(*fault);
  return stream;
}

std::expected<Stream*, Fault> Streams::receive_data(const FrameReader::Part& part) {
  if (part.first) {
    incoming_ = nullptr;
    const auto stream = stream_with_payload(part);
    if (!stream || *stream == nullptr) return stream;
    if ((*stream)->receive.receive(part.header.payload_bytes)) {
      return std::unexpected(Fault{Reason::flow_control, "DATA beyond the stream's credit"});
    }
    std::uint8_t& empty_frames = (*stream)->empty_data_frames;
    empty_frames = part.header.payload_bytes == 0 ? empty_frames + 1 : 0;
    if (empty_frames > consecutive_empty_data_frames_max) {
      return std::unexpected(Fault{Reason::flood, "empty DATA frames in a row"});
    }
    incoming_ = *stream;
  }
  return incoming_ == nullptr || incoming_->discards || part.payload.empty() ? nullptr : incoming_;
}

std::expected<Stream*, Fault> Streams::receive_head(const FrameReader::Part& part) {
  const auto stream = stream_with_payload(part);
  if (!stream || *stream == nullptr) return stream;
  if ((*stream)->receive.receive_head(part.payload.size())) {
    return std::unexpected(Fault{Reason::flow_control, "HEAD without credit"});
  }
  return (*stream)->discards ? nullptr : *stream;
}

std::optional<Fault> Streams::receive_open(const FrameReader::Part& part, Time now, std::size_t answers_elsewhere) {
  const StreamId id = part.header.stream;
  if (!table_.may_come(id)) {
    return Fault{.text = "OPEN with an id of the wrong parity, or one that was used"};
  }
  auto open = decode_open(part.payload);
  if (!open) return Fault{.text = "a malformed OPEN"};
  table_.note_peer_id(id);
  if (answers_queued() + answers_elsewhere >= control_frames_queued_hard_max) {
    return Fault{Reason::flood, "the peer opens streams and does not read the answers"};
  }
  Stream& stream = table_.offer(id, open->credit, now);
  ++counters_.streams_accepted;
  if (table_.peer_streams() <= peer_streams_max_) {
    events_.push_back(Opened{id, std::move(*open)});
    return std::nullopt;
  }
  // The driver has not heard of the stream, so it must not hear of its end.
  ++counters_.overloaded;
  const std::size_t events = events_.size();
  reject(stream, Reject{Reason::overloaded, true, "too many streams in this tunnel"});
  events_.shrink(events);
  return std::nullopt;
}

std::optional<Fault> Streams::receive(const FrameReader::Part& part) {
  const auto found = stream_of(part);
  if (!found) return found.error();
  if (*found == nullptr) return std::nullopt;
  Stream& stream = **found;
  using enum FrameType;
  const FrameType type = part.header.type;
  if (type == accept) return receive_accept(stream, part.payload);
  if (type == reject) return receive_reject(stream, part.payload);
  if (type == credit) return receive_credit(stream, part.payload);
  if (type == fin) return receive_fin(stream, (part.header.flags & flag_aborted) != 0);
  if (type == reset) return receive_reset(stream, reason_in(part.payload));
  if (type == stop) return receive_stop(stream, reason_in(part.payload));
  check(type == pending, "tunnel frames, OPEN, DATA and HEAD are handled elsewhere");
  return receive_pending(stream, part.payload);
}

std::optional<Fault> Streams::receive_accept(Stream& stream, std::span<const std::byte> payload) {
  if (const auto fault = step_received(stream, StreamEvent::receive_accept)) return fault;
  if (!stream.send.raise_limit(load<std::uint64_t>(payload))) {
    return Fault{Reason::flow_control, "ACCEPT grants too much"};
  }
  events_.push_back(Accepted{stream.id, stream.user});
  refresh(stream);
  return std::nullopt;
}

std::optional<Fault> Streams::receive_reject(Stream& stream, std::span<const std::byte> payload) {
  if (const auto fault = step_received(stream, StreamEvent::receive_reject)) return fault;
  auto message = decode_reject(payload);
  if (!message) return Fault{.text = "a malformed REJECT"};
  events_.push_back(Rejected{stream.id, stream.user, std::move(*message)});
  stream.owes_aborted_fin = false;
  forget(stream);
  return std::nullopt;
}

/// Advice for the driver alone: where it comes too late, or to the wrong side, it means nothing.
std::optional<Fault> Streams::receive_pending(Stream& stream, std::span<const std::byte> payload) {
  if (stream.state != StreamState::opening && stream.state != StreamState::opening_finished) return std::nullopt;
  const std::uint32_t time = std::min(load<std::uint32_t>(payload), pending_ms_max);
  events_.push_back(Pending{stream.id, stream.user, std::chrono::milliseconds(time)});
  return std::nullopt;
}

std::optional<Fault> Streams::receive_credit(Stream& stream, std::span<const std::byte> payload) {
  if (const auto fault = step_received(stream, StreamEvent::receive_credit)) return fault;
  const auto raised = stream.send.raise_limit(load<std::uint64_t>(payload));
  if (!raised) return Fault{Reason::flow_control, "CREDIT grants too much"};
  if (*raised == SendCredit::Raise::stale) ++counters_.stale_credits;
  refresh(stream);
  return std::nullopt;
}

std::optional<Fault> Streams::receive_fin(Stream& stream, bool aborted) {
  if (const auto fault = step_received(stream, StreamEvent::receive_fin)) return fault;
  if (!stream.discards || aborted) events_.push_back(Finished{stream.id, stream.user, aborted});
  if (stream.state == StreamState::closed) forget(stream);
  return std::nullopt;
}

std::optional<Fault> Streams::receive_reset(Stream& stream, Reason reason) {
  if (const auto fault = step_received(stream, StreamEvent::receive_reset)) return fault;
  events_.push_back(WasReset{stream.id, stream.user, reason});
  stream.owes_accept = stream.owes_aborted_fin = false;
  forget(stream);
  return std::nullopt;
}

std::optional<Fault> Streams::receive_stop(Stream& stream, Reason reason) {
  if (const auto fault = step_received(stream, StreamEvent::receive_stop)) return fault;
  if (stream.state == StreamState::sent_fin) return std::nullopt;
  events_.push_back(Stopped{stream.id, stream.user, reason});
  abort(stream);
  return std::nullopt;
}

void Streams::reject_unseen(StreamId last_handled) {
  std::vector<Stream*> unseen;
  for (auto& [id, stream] : table_.all()) {
    const bool opening = stream.state == StreamState::opening || stream.state == StreamState::opening_finished;
    if (opening && id > last_handled) unseen.push_back(&stream);
  }
  for (Stream* stream : unseen) {
    events_.push_back(Rejected{stream->id, stream->user,
                               Reject{Reason::draining, true, "the tunnel closed before it saw the stream"}});
    stream->owes_open = stream->owes_aborted_fin = false;
    forget(*stream);
  }
}

}  // namespace culvert::protocol
