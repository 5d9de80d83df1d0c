// SPDX-License-Identifier: Apache-2.0
// The sending half of Session: what goes out next, in which order (SPEC 7.4).
#include <algorithm>
#include <utility>

#include "protocol/bytes.hpp"
#include "protocol/check.hpp"
#include "protocol/session.hpp"

namespace culvert::protocol {
namespace {

/// A frame of at most 8 bytes of payload.
template <typename T>
std::size_t write_number(std::span<std::byte> room, FrameType type, std::uint8_t flags, StreamId id, T value) {
  encode_header({type, flags, id, sizeof value}, room.first<frame_header_bytes>());
  store<T>(room.subspan(frame_header_bytes), value);
  return frame_header_bytes + sizeof value;
}

constexpr std::size_t number_frame_bytes = frame_header_bytes + sizeof(std::uint64_t);

/// False: the room behind what is `used` is too small for the frame.
bool write_whole(const std::vector<std::byte>& frame, std::span<std::byte> room, std::size_t& used) {
  if (frame.size() > room.size() - used) return false;
  std::ranges::copy(frame, room.begin() + static_cast<std::ptrdiff_t>(used));
  used += frame.size();
  return true;
}

}  // namespace

/// Frames of the tunnel, then CREDIT and STOP of all streams. Stops where the room ends.
std::size_t Session::write_control(std::span<std::byte> room) {
  std::size_t used = 0;
  while (!tunnel_frames_.empty() && write_whole(tunnel_frames_.front(), room, used)) tunnel_frames_.pop_front();
  if (final_) {
    if (tunnel_frames_.empty() && write_whole(*final_, room, used)) final_.reset();
    return used;
  }
  if (ended_ || !tunnel_frames_.empty()) return used;
  if (replicas_owed_ && write_whole(*replicas_owed_, room, used)) replicas_owed_.reset();
  if (const auto stamp = pong_owed_; stamp && room.size() - used >= number_frame_bytes) {
    used += write_number(room.subspan(used), FrameType::ping, flag_pong, 0, *stamp);
    pong_owed_.reset();
  }
  if (const auto sent = ping_owed_; sent && room.size() - used >= number_frame_bytes) {
    used += write_number(room.subspan(used), FrameType::ping, 0, 0, static_cast<std::uint64_t>(sent->count()));
    ping_owed_.reset();
  }
  if (widen_owed_ && room.size() - used >= frame_header_bytes) {
    encode_header({FrameType::widen, 0, 0, 0}, room.subspan(used).first<frame_header_bytes>());
    used += frame_header_bytes;
    widen_owed_ = false;
  }
  while (!urgent_.empty() && room.size() - used >= 2 * number_frame_bytes) {
    Stream* stream = find(urgent_.front());
    urgent_.pop_front();
    // Nothing may come before ACCEPT: write_owed() queues the stream again.
    if (stream == nullptr || stream->owes_accept) continue;
    if (std::exchange(stream->owes_credit, false)) {
      used += write_number(room.subspan(used), FrameType::credit, 0, stream->id, stream->receive.announce());
    }
    if (std::exchange(stream->owes_stop, false)) {
      used += write_number(room.subspan(used), FrameType::stop, 0, stream->id, std::to_underlying(stream->stop_reason));
    }
  }
  return used;
}

/// One of the frames that a stream owes. 0: the room is too small.
std::size_t Session::write_owed(Stream& stream, std::span<std::byte> room) {
  const StreamId id = stream.id;
  if (stream.owes_open || stream.owes_reject) {
    const std::size_t bytes = frame_header_bytes + stream.owed_message.size();
    if (bytes > room.size()) return 0;
    const FrameType type = stream.owes_open ? FrameType::open : FrameType::reject;
    encode_header({type, 0, id, static_cast<std::uint32_t>(stream.owed_message.size())},
                  room.first<frame_header_bytes>());
    std::ranges::copy(stream.owed_message, room.begin() + frame_header_bytes);
    stream.owed_message = std::vector<std::byte>();
    if (stream.owes_reject) --rejects_owed_;
    stream.owes_open = stream.owes_reject = false;
    return bytes;
  }
  if (number_frame_bytes > room.size()) return 0;
  if (std::exchange(stream.owes_accept, false)) {
    stream.owes_credit = false;
    if (stream.owes_stop) urgent_.push_back(id);
    return write_number(room, FrameType::accept, 0, id, stream.receive.announce());
  }
  if (std::exchange(stream.owes_aborted_fin, false)) {
    encode_header({FrameType::fin, flag_aborted, id, 0}, room.first<frame_header_bytes>());
    return frame_header_bytes;
  }
  check(std::exchange(stream.owes_reset, false), "a stream in the ring owes something");
  return write_number(room, FrameType::reset, 0, id, std::to_underlying(stream.reset_reason));
}

/// 0: the room is too small.
std::size_t Session::write_head(Stream& stream, std::span<std::byte> room) {
  const std::vector<std::byte>& message = stream.owed_heads.front();
  const std::size_t bytes = frame_header_bytes + message.size();
  if (bytes > room.size()) return 0;
  (void)step(stream, StreamEvent::send_data);
  encode_header({FrameType::head, 0, stream.id, static_cast<std::uint32_t>(message.size())},
                room.first<frame_header_bytes>());
  std::ranges::copy(message, room.begin() + frame_header_bytes);
  stream.send.spend_head(message.size());
  stream.owed_heads.erase(stream.owed_heads.begin());
  return bytes;
}

Outgoing Session::next_outgoing(std::span<std::byte> room) {
  check(filling_ == nullptr, "a slot is committed before the next one is asked for");
  if (room.size() < 2 * number_frame_bytes) return {.kind = Outgoing::Kind::full};
  if (const std::size_t bytes = write_control(room); bytes > 0) {
    control_progress_ = now_;
    return {Outgoing::Kind::frames, bytes, {}};
  }
  if (!tunnel_frames_.empty() || final_) return {.kind = Outgoing::Kind::full};
  if (ended_) return {};
  if (!urgent_.empty() || replicas_owed_) return {.kind = Outgoing::Kind::full};

  Stream* stream = scheduler_.next();
  if (stream == nullptr) return {};
  const bool owes =
      stream->owes_open || stream->owes_accept || stream->owes_reject || stream->owes_reset || stream->owes_aborted_fin;
  if (owes) {
    const std::size_t bytes = write_owed(*stream, room);
    if (bytes == 0) return {.kind = Outgoing::Kind::full};
    control_progress_ = now_;
    scheduler_.charge(*stream, bytes);
    refresh(*stream);
    erase_if_done(*stream);
    return {Outgoing::Kind::frames, bytes, {}};
  }
  if (!stream->owed_heads.empty()) {
    const std::size_t bytes = write_head(*stream, room);
    if (bytes == 0) return {.kind = Outgoing::Kind::full};
    scheduler_.charge(*stream, bytes);
    refresh(*stream);
    return {Outgoing::Kind::frames, bytes, {}};
  }
  // A frame for a few bytes only because the room ends here would cost more than it carries.
  constexpr std::size_t worthwhile_bytes = 2'048;
  const std::size_t credit = static_cast<std::size_t>(stream->send.available());
  const std::size_t wanted = std::min(credit, data_payload_bytes_preferred);
  if (room.size() < frame_header_bytes + std::min(wanted, worthwhile_bytes) + number_frame_bytes)
    return {.kind = Outgoing::Kind::full};
  filling_ = stream;
  filling_room_ = room;
  const std::size_t size = std::min(wanted, room.size() - 2 * frame_header_bytes);  // FIN may follow.
  return {Outgoing::Kind::slot, 0, {stream->id, stream->user, room.subspan(frame_header_bytes, size)}};
}

std::size_t Session::commit(std::size_t bytes, Source source) {
  check(filling_ != nullptr, "commit() answers a slot");
  Stream& stream = *std::exchange(filling_, nullptr);
  if (ended_) return 0;
  std::size_t used = 0;
  if (bytes > 0) {
    (void)step(stream, StreamEvent::send_data);
    stream.send.spend(bytes);
    encode_header({FrameType::data, 0, stream.id, static_cast<std::uint32_t>(bytes)},
                  filling_room_.first<frame_header_bytes>());
    used = frame_header_bytes + bytes;
    scheduler_.charge(stream, used);
  }
  switch (source) {
    case Source::more: break;
    case Source::blocked: stream.readable = false; break;
    case Source::ended: return used + end_sending(stream, filling_room_.subspan(used), false);
    case Source::aborted: return used + end_sending(stream, filling_room_.subspan(used), true);
  }
  refresh(stream);
  return used;
}

std::size_t Session::end_sending(Stream& stream, std::span<std::byte> room, bool aborted) {
  (void)step(stream, StreamEvent::send_fin);
  stream.readable = false;
  encode_header({FrameType::fin, aborted ? flag_aborted : std::uint8_t{0}, stream.id, 0},
                room.first<frame_header_bytes>());
  scheduler_.charge(stream, frame_header_bytes);
  if (stream.state == StreamState::closed) {
    forget(stream);
  } else {
    refresh(stream);
  }
  return frame_header_bytes;
}

std::size_t Session::commit_reset(Reason reason) {
  check(filling_ != nullptr, "commit_reset() answers a slot");
  const StreamId id = std::exchange(filling_, nullptr)->id;
  reset(id, reason);
  return 0;
}

}  // namespace culvert::protocol
