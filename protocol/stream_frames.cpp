// SPDX-License-Identifier: Apache-2.0
#include "protocol/stream_frames.hpp"

#include <utility>
#include <vector>

#include "protocol/check.hpp"
#include "protocol/frame_writer.hpp"

namespace culvert::protocol {

std::size_t write_owed_frame(Stream& stream, std::span<std::byte> room) {
  if (stream.owes_open || stream.owes_reject) {
    if (frame_header_bytes + stream.owed_message.size() > room.size()) return 0;
    const FrameType type = stream.owes_open ? FrameType::open : FrameType::reject;
    const std::size_t bytes = write_frame(room, type, stream.id, stream.owed_message);
    stream.owed_message = std::vector<std::byte>();
    stream.owes_open = stream.owes_reject = false;
    return bytes;
  }
  if (number_frame_bytes > room.size()) return 0;
  if (std::exchange(stream.owes_accept, false)) {
    stream.owes_credit = false;
    return write_number_frame(room, FrameType::accept, 0, stream.id, stream.receive.announce());
  }
  if (std::exchange(stream.owes_aborted_fin, false)) {
    return write_empty_frame(room, FrameType::fin, flag_aborted, stream.id);
  }
  check(std::exchange(stream.owes_reset, false), "a stream in the ring owes something");
  return write_number_frame(room, FrameType::reset, 0, stream.id, std::to_underlying(stream.reset_reason));
}

std::size_t write_owed_head(Stream& stream, std::span<std::byte> room) {
  const std::vector<std::byte>& message = stream.owed_heads.front();
  if (frame_header_bytes + message.size() > room.size()) return 0;
  const std::size_t bytes = write_frame(room, FrameType::head, stream.id, message);
  stream.send.spend_head(message.size());
  stream.owed_heads.erase(stream.owed_heads.begin());
  return bytes;
}

std::size_t write_credit_and_stop(Stream& stream, std::span<std::byte> room) {
  std::size_t used = 0;
  if (std::exchange(stream.owes_credit, false)) {
    used += write_number_frame(room, FrameType::credit, 0, stream.id, stream.receive.announce());
  }
  if (std::exchange(stream.owes_stop, false)) {
    const auto reason = std::to_underlying(stream.stop_reason);
    used += write_number_frame(room.subspan(used), FrameType::stop, 0, stream.id, reason);
  }
  // Only before the answer, when neither of the two is due.
  if (std::exchange(stream.owes_pending, false)) {
    used += write_number_frame(room.subspan(used), FrameType::pending, 0, stream.id, stream.pending_ms);
  }
  return used;
}

}  // namespace culvert::protocol
