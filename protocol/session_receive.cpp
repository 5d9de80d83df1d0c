// SPDX-License-Identifier: Apache-2.0
// The receiving half of Session: frames to events.
#include <algorithm>
#include <utility>

#include "protocol/bytes.hpp"
#include "protocol/check.hpp"
#include "protocol/session.hpp"

namespace culvert::protocol {

void Session::feed(std::span<const std::byte> bytes, Time now) {
  set_time(now);
  if (ended_ || bytes.empty()) return;
  liveness_.received(now);
  reader_.feed(bytes);
}

std::optional<Event> Session::next_event() {
  for (;;) {
    if (!events_.empty()) {
      Event event = std::move(events_.front());
      events_.pop_front();
      return event;
    }
    if (ended_) return std::nullopt;
    auto part = reader_.next();
    if (!part) {
      end(part.error(), false,
          part.error() == Reason::frame_too_large ? "a frame longer than its limit" : "a malformed frame header");
      continue;
    }
    const std::optional<FrameReader::Part>& whole = *part;
    if (!whole) return std::nullopt;
    const FrameReader::Part& frame = *whole;
    if (frame.header.type == FrameType::data) {
      // The one kind of event that is made per frame: it bypasses the queue.
      if (receive_data(frame)) return Data{incoming_->id, incoming_->user, frame.payload};
      continue;
    }
    if (frame.header.type == FrameType::head) {
      if (const auto head = receive_head(frame)) return *head;
      continue;
    }
    receive(frame);
  }
}

void Session::receive(const FrameReader::Part& part) {
  const FrameType type = part.header.type;
  if (type != FrameType::ping) liveness_.received_data(now_);
  if (part.header.stream == 0) {
    receive_tunnel_frame(part);
  } else if (!greeted_) {
    breach("a stream before the greeting");
  } else if (type == FrameType::open) {
    receive_open(part);
  } else if (Stream* stream = stream_of(part)) {
    receive_stream_frame(*stream, part);
  }
}

void Session::receive_tunnel_frame(const FrameReader::Part& part) {
  const FrameType type = part.header.type;
  const bool first = options_.role == Role::server ? !hello_seen_ : !greeted_;
  const FrameType greeting = options_.role == Role::server ? FrameType::hello : FrameType::welcome;
  if (type == FrameType::goaway) return receive_goaway(part.payload);
  if (first != (type == greeting)) return breach("a greeting in the wrong place");
  if (type == FrameType::hello && first) return receive_hello(part.payload);
  if (type == FrameType::welcome && first) return receive_welcome(part.payload);
  if (type == FrameType::ping && greeted_) return receive_ping(part);
  if (options_.role == Role::agent && greeted_) {
    if (type == FrameType::widen) return receive_widen();
    if (type == FrameType::replicas) return receive_replicas(part.payload);
  }
  breach("a frame from the wrong side, or a PING before the greeting");
}

void Session::receive_hello(std::span<const std::byte> payload) {
  auto hello = decode_hello(payload);
  if (!hello) return breach("a malformed HELLO");
  hello_seen_ = true;
  reader_.set_greeted();
  events_.push_back(Greeted{std::move(*hello)});
}

void Session::receive_welcome(std::span<const std::byte> payload) {
  auto welcome = decode_welcome(payload);
  if (!welcome) return breach("a malformed WELCOME");
  if (welcome->version < options_.hello.version_min || welcome->version > options_.hello.version_max) {
    return end(Reason::version, false, "the server chose a version that was not offered");
  }
  become_greeted();
  reader_.set_greeted();
  events_.push_back(Welcomed{std::move(*welcome)});
}

void Session::receive_goaway(std::span<const std::byte> payload) {
  auto goaway = decode_goaway(payload);
  if (!goaway) return breach("a malformed GOAWAY");
  if (goaway->kind == Goaway::Kind::draining) {
    if (!greeted_) return breach("GOAWAY(draining) before the greeting");
    if (!std::exchange(peer_draining_, true)) events_.push_back(PeerDraining{goaway->reason, goaway->delay});
    return;
  }
  // What the peer never saw can be opened elsewhere, with the bytes that went with it (SPEC 8.3).
  std::vector<Stream*> unseen;
  for (auto& [id, stream] : streams_) {
    const bool opening = stream.state == StreamState::opening || stream.state == StreamState::opening_finished;
    if (opening && id > goaway->last_stream) unseen.push_back(&stream);
  }
  for (Stream* stream : unseen) {
    events_.push_back(Rejected{stream->id, stream->user,
                               Reject{Reason::draining, true, "the tunnel closed before it saw the stream"}});
    stream->owes_open = stream->owes_aborted_fin = false;
    forget(*stream);
  }
  end(goaway->reason, true, std::move(goaway->text));
}

void Session::receive_ping(const FrameReader::Part& part) {
  const auto stamp = load<std::uint64_t>(part.payload);
  if ((part.header.flags & flag_pong) != 0) {
    liveness_.pong(Time(static_cast<Time::rep>(stamp)), now_);
  } else if (!liveness_.allow_ping(now_)) {
    end(Reason::flood, false, "more than 10 pings per second");
  } else {
    pong_owed_ = stamp;
  }
}

/// Too many say no more than one does.
void Session::receive_widen() {
  if (widen_seen_ && now_ - *widen_seen_ < widen_interval) return;
  widen_seen_ = now_;
  events_.push_back(WidenWanted{});
}

void Session::receive_replicas(std::span<const std::byte> payload) {
  auto replicas = decode_replicas(payload);
  if (!replicas) return breach("a malformed REPLICAS");
  events_.push_back(ReplicasChanged{std::move(replicas->names)});
}

/// The stream that a frame is for; nullptr when it is gone (counted) or the tunnel has just ended (breach).
Stream* Session::stream_of(const FrameReader::Part& part) {
  const StreamId id = part.header.stream;
  if (Stream* stream = find(id)) {
    if (stream->owes_open) {
      breach("an answer to a stream that was not opened yet");
      return nullptr;
    }
    if (stream->state != StreamState::closed) return stream;
  } else if (is_ours(id) ? id >= next_own_id_ : id > last_peer_id_) {
    breach("a frame for a stream that was never opened");
    return nullptr;
  }
  ++counters_.late_frames;
  return nullptr;
}

void Session::receive_open(const FrameReader::Part& part) {
  const StreamId id = part.header.stream;
  if (is_ours(id) || id <= last_peer_id_) return breach("OPEN with an id of the wrong parity, or one that was used");
  auto open = decode_open(part.payload);
  if (!open) return breach("a malformed OPEN");
  last_peer_id_ = id;
  if (control_frames_queued() >= control_frames_queued_hard_max) {
    return end(Reason::flood, false, "the peer opens streams and does not read the answers");
  }
  Stream& stream =
      streams_.try_emplace(id, id, StreamState::offered, open->credit, optimistic_bytes_max, now_).first->second;
  stream.by_peer = true;
  window_bytes_ += optimistic_bytes_max;
  ++counters_.streams_accepted;
  if (peer_streams_++ < options_.streams_max) {
    events_.push_back(Opened{id, std::move(*open)});
    return;
  }
  // Nobody above has heard of it, so nobody hears of its end.
  ++counters_.overloaded;
  const std::size_t events = events_.size();
  reject(id, Reject{Reason::overloaded, true, "too many streams in this tunnel"});
  events_.shrink(events);
}

void Session::receive_stream_frame(Stream& stream, const FrameReader::Part& part) {
  using enum FrameType;
  switch (part.header.type) {
    case accept: {
      if (!step(stream, StreamEvent::receive_accept)) return;
      if (!stream.send.raise_limit(load<std::uint64_t>(part.payload)))
        return end(Reason::flow_control, false, "ACCEPT grants too much");
      events_.push_back(Accepted{stream.id, stream.user});
      return refresh(stream);
    }
    case reject: {
      if (!step(stream, StreamEvent::receive_reject)) return;
      auto message = decode_reject(part.payload);
      if (!message) return breach("a malformed REJECT");
      events_.push_back(Rejected{stream.id, stream.user, std::move(*message)});
      stream.owes_aborted_fin = false;
      return forget(stream);
    }
    case credit: {
      if (!step(stream, StreamEvent::receive_credit)) return;
      const auto raised = stream.send.raise_limit(load<std::uint64_t>(part.payload));
      if (!raised) return end(Reason::flow_control, false, "CREDIT grants too much");
      if (*raised == SendCredit::Raise::stale) ++counters_.stale_credits;
      return refresh(stream);
    }
    case fin: {
      if (!step(stream, StreamEvent::receive_fin)) return;
      const bool aborted = (part.header.flags & flag_aborted) != 0;
      if (!stream.discards || aborted) events_.push_back(Finished{stream.id, stream.user, aborted});
      if (stream.state == StreamState::closed) forget(stream);
      return;
    }
    case reset: {
      if (!step(stream, StreamEvent::receive_reset)) return;
      const auto reason = reason_of(load<std::uint32_t>(part.payload)).value_or(Reason::internal);
      events_.push_back(WasReset{stream.id, stream.user, reason});
      stream.owes_accept = stream.owes_aborted_fin = false;
      return forget(stream);
    }
    case stop: {
      if (!step(stream, StreamEvent::receive_stop)) return;
      const auto reason = reason_of(load<std::uint32_t>(part.payload)).value_or(Reason::internal);
      if (stream.state == StreamState::sent_fin) return;
      events_.push_back(Stopped{stream.id, stream.user, reason});
      return abort(stream.id);
    }
    case hello:
    case welcome:
    case goaway:
    case ping:
    case widen:
    case replicas:
    case open:
    case data:
    case head: break;
  }
  check(false, "tunnel frames, OPEN, DATA and HEAD are handled elsewhere");
}

/// True: the payload is for incoming_, and somebody wants it.
bool Session::receive_data(const FrameReader::Part& part) {
  if (part.first) begin_data(part);
  if (incoming_ == nullptr || part.payload.empty()) return false;
  if (incoming_->discards) {
    (void)incoming_->receive.take(part.payload.size());
    return false;
  }
  return true;
}

/// To the driver at once: the payload is a view.
std::optional<HeadCame> Session::receive_head(const FrameReader::Part& part) {
  liveness_.received_data(now_);
  if (!greeted_) breach("HEAD before the greeting");
  Stream* stream = ended_ ? nullptr : stream_of(part);
  if (stream == nullptr || !step(*stream, StreamEvent::receive_data)) return std::nullopt;
  if (++stream->heads_received > heads_max) {
    end(Reason::flood, false, "more HEADs than an exchange has");
    return std::nullopt;
  }
  if (stream->receive.receive_head(part.payload.size())) {
    end(Reason::flow_control, false, "HEAD without credit");
    return std::nullopt;
  }
  if (!stream->discards) return HeadCame{stream->id, stream->user, part.payload};
  (void)stream->receive.take(part.payload.size());
  return std::nullopt;
}

/// Sets incoming_ to the stream whose payload follows, or to nullptr when it is to be dropped.
void Session::begin_data(const FrameReader::Part& part) {
  liveness_.received_data(now_);
  incoming_ = nullptr;
  if (!greeted_) return breach("DATA before the greeting");
  Stream* stream = stream_of(part);
  if (stream == nullptr || !step(*stream, StreamEvent::receive_data)) return;
  if (stream->receive.receive(part.header.payload_bytes)) {
    return end(Reason::flow_control, false, "DATA beyond the stream's credit");
  }
  stream->empty_data_frames = part.header.payload_bytes == 0 ? stream->empty_data_frames + 1 : 0;
  if (stream->empty_data_frames > consecutive_empty_data_frames_max) {
    return end(Reason::flood, false, "empty DATA frames in a row");
  }
  incoming_ = stream;
}

}  // namespace culvert::protocol
