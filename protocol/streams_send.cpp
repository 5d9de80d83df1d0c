// SPDX-License-Identifier: Apache-2.0
// The sending half of Streams: what goes out next, in which order (SPEC 7.4).
#include <algorithm>
#include <utility>

#include "protocol/check.hpp"
#include "protocol/frame_writer.hpp"
#include "protocol/stream_frames.hpp"
#include "protocol/streams.hpp"

namespace culvert::protocol {

std::size_t Streams::write_urgent(std::span<std::byte> room) {
  std::size_t used = 0;
  while (!urgent_.empty() && room.size() - used >= urgent_bytes_max) {
    Stream* stream = table_.find(urgent_.front());
    urgent_.pop_front();
    // Nothing may come before ACCEPT: write_owed() queues the stream again.
    if (stream != nullptr && !stream->owes_accept) used += write_credit_and_stop(*stream, room.subspan(used));
  }
  return used;
}

/// 0: the room is too small.
std::size_t Streams::write_owed(Stream& stream, std::span<std::byte> room) {
  if (!stream.owes_frame()) {
    step(stream, StreamEvent::send_data);
    return write_owed_head(stream, room);
  }
  const bool rejects = stream.owes_reject;
  const bool accepts = stream.owes_accept;
  const std::size_t bytes = write_owed_frame(stream, room);
  if (bytes == 0) return 0;
  if (rejects) --rejects_owed_;
  if (accepts && stream.owes_stop) urgent_.push_back(stream.id);
  return bytes;
}

Outgoing Streams::next_outgoing(std::span<std::byte> room) {
  Stream* stream = scheduler_.next();
  if (stream == nullptr) return {};
  if (stream->owes_frame() || !stream->owed_heads.empty()) {
    const std::size_t bytes = write_owed(*stream, room);
    if (bytes == 0) return {.kind = Outgoing::Kind::full};
    scheduler_.charge(*stream, bytes);
    refresh(*stream);
    erase_if_done(*stream);
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

std::size_t Streams::commit(std::size_t bytes, Source source) {
  check(filling_ != nullptr, "commit() answers a slot");
  Stream& stream = *std::exchange(filling_, nullptr);
  if (ended_) return 0;
  std::size_t used = 0;
  if (bytes > 0) {
    step(stream, StreamEvent::send_data);
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

std::size_t Streams::end_sending(Stream& stream, std::span<std::byte> room, bool aborted) {
  step(stream, StreamEvent::send_fin);
  stream.readable = false;
  const std::size_t bytes =
      write_empty_frame(room, FrameType::fin, aborted ? flag_aborted : std::uint8_t{0}, stream.id);
  scheduler_.charge(stream, bytes);
  settle(stream);
  return bytes;
}

void Streams::commit_reset(Reason reason) {
  check(filling_ != nullptr, "commit_reset() answers a slot");
  reset(std::exchange(filling_, nullptr)->id, reason);
}

}  // namespace culvert::protocol
