// SPDX-License-Identifier: Apache-2.0
#include "protocol/session.hpp"

#include <algorithm>
#include <utility>

#include "protocol/check.hpp"
#include "protocol/stream_frames.hpp"

namespace culvert::protocol {

Session::Session(const SessionOptions& options, Time now)
    : tunnel_(options.role, options.hello, events_, now),
      streams_(StreamTable(options.role, options.stream_id_max), options.streams_max, events_),
      now_(now),
      answers_progress_(now) {}

Session::~Session() = default;

// ---- The tunnel's life

/// The clock of a peer that does not read its answers starts when too many of them wait, not with the last one sent.
void Session::set_time(Time now) {
  now_ = now;
  if (answers_queued() <= control_frames_queued_max) answers_progress_ = now;
}

void Session::on_time(Time now) {
  set_time(now);
  if (is_ended()) return;
  if (const auto fault = tunnel_.on_time(now)) return end(*fault);
  if (now - answers_progress_ >= control_stall_max) {
    end({Reason::flood, "the peer causes answers and does not read them"});
  }
}

Time Session::deadline() const {
  if (is_ended()) return Time::max();
  const Time next = tunnel_.deadline();
  if (answers_queued() <= control_frames_queued_max) return next;
  return std::min(next, answers_progress_ + control_stall_max);
}

void Session::answer(const Enrolled& message) {
  if (is_ended()) return;
  tunnel_.answer(message);
  if (tunnel_.is_join()) close(Reason::none, "");
}

void Session::close(Reason reason, std::string text) {
  if (is_ended()) return;
  tunnel_.end(reason, std::move(text), streams_.table().last_peer_id());
  streams_.end();
}

void Session::end(const Fault& fault) {
  close(fault.reason, std::string(fault.text));
}

std::optional<StreamId> Session::open(const Open& message, void* user) {
  if (!may_open()) return std::nullopt;
  const StreamId id = streams_.open(message, user, now_);
  // After the last id this tunnel only finishes what it has.
  if (streams_.table().ids_exhausted()) drain(Reason::ids_exhausted, std::chrono::milliseconds(0));
  return id;
}

std::vector<Session::Survivor> Session::survivors() const {
  std::vector<Survivor> all;
  for (const auto& [id, stream] : streams_.table().all()) {
    if (stream.state != StreamState::closed) all.push_back({id, stream.user, stream.receive.window()});
  }
  return all;
}

std::vector<Session::Survivor> Session::with_waiting_bytes() const {
  std::vector<Survivor> all;
  for (const auto& [id, stream] : streams_.table().all()) {
    if (stream.state != StreamState::closed && stream.receive.waiting() > 0)
      all.push_back({id, stream.user, stream.receive.window()});
  }
  return all;
}

// ---- In

void Session::feed(std::span<const std::byte> bytes, Time now) {
  set_time(now);
  if (is_ended() || bytes.empty()) return;
  tunnel_.received_bytes(now);
  reader_.feed(bytes);
}

std::optional<Event> Session::next_event() {
  for (;;) {
    if (!events_.empty()) {
      Event event = std::move(events_.front());
      events_.pop_front();
      return event;
    }
    if (is_ended()) return std::nullopt;
    const auto next = reader_.next();
    if (!next) {
      end({next.error(),
           next.error() == Reason::frame_too_large ? "a frame longer than its limit" : "a malformed frame header"});
      continue;
    }
    const std::optional<FrameReader::Part>& part = *next;
    if (!part) return std::nullopt;
    const FrameType type = part->header.type;
    if (part->first && type != FrameType::ping) tunnel_.received_use(now_);
    const bool is_data = type == FrameType::data;
    if ((is_data || type == FrameType::head) && is_greeted()) {
      // Not queued: DATA is the one event that is made per frame, and both are views.
      const auto stream = is_data ? streams_.receive_data(*part) : streams_.receive_head(*part);
      if (!stream) {
        end(stream.error());
      } else if (*stream != nullptr) {
        if (is_data) return Data{(*stream)->id, (*stream)->user, part->payload};
        return HeadCame{(*stream)->id, (*stream)->user, part->payload};
      }
      continue;
    }
    if (const auto fault = receive(*part)) end(*fault);
  }
}

/// Any frame but DATA and HEAD.
std::optional<Fault> Session::receive(const FrameReader::Part& part) {
  if (part.header.stream == 0) return receive_tunnel_frame(part);
  if (!is_greeted()) return Fault{.text = "a frame of a stream before the greeting"};
  if (part.header.type == FrameType::open) return streams_.receive_open(part, now_, tunnel_.frames_queued());
  return streams_.receive(part);
}

std::optional<Fault> Session::receive_tunnel_frame(const FrameReader::Part& part) {
  const FrameType type = part.header.type;
  if (type == FrameType::goaway) return receive_goaway(part.payload);
  if (const auto fault = tunnel_.receive(part, now_)) return fault;
  if (type == FrameType::hello || type == FrameType::welcome) reader_.set_greeted();
  if (type == FrameType::join) reader_.wipe();
  return std::nullopt;
}

std::optional<Fault> Session::receive_goaway(std::span<const std::byte> payload) {
  auto goaway = decode_goaway(payload);
  if (!goaway) return Fault{.text = "a malformed GOAWAY"};
  if (goaway->kind == Goaway::Kind::draining) return tunnel_.receive_draining(*goaway);
  // What the peer never saw can be opened elsewhere, with the bytes that were sent on it (SPEC 8.3).
  streams_.reject_unseen(goaway->last_stream);
  tunnel_.end_by_peer(goaway->reason, std::move(goaway->text));
  streams_.end();
  return std::nullopt;
}

// ---- Out

Outgoing Session::next_outgoing(std::span<std::byte> room) {
  check(!streams_.is_filling(), "a slot is committed before the next one is asked for");
  if (room.size() < urgent_bytes_max) return {.kind = Outgoing::Kind::full};
  std::size_t bytes = tunnel_.write(room);
  if (streams_.has_urgent() && !tunnel_.goes_first() && !is_ended()) {
    bytes += streams_.write_urgent(room.subspan(bytes));
  }
  if (bytes > 0) {
    answers_progress_ = now_;
    return {Outgoing::Kind::frames, bytes, {}};
  }
  if (tunnel_.needs_room()) return {.kind = Outgoing::Kind::full};
  if (is_ended()) return {};
  if (streams_.has_urgent()) return {.kind = Outgoing::Kind::full};
  const Outgoing outgoing = streams_.next_outgoing(room);
  if (outgoing.kind == Outgoing::Kind::frames) answers_progress_ = now_;
  return outgoing;
}

std::size_t Session::commit_reset(Reason reason) {
  streams_.commit_reset(reason);
  return 0;
}

}  // namespace culvert::protocol
