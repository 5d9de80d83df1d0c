// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "protocol/bytes.hpp"
#include "protocol/frame.hpp"

// Whole frames, written at the start of a room that the caller has found to be large enough. Each call returns the size
// of its frame.

namespace culvert::protocol {

inline std::size_t write_frame(std::span<std::byte> room, FrameType type, StreamId id,
                               std::span<const std::byte> payload) {
  encode_header({type, 0, id, static_cast<std::uint32_t>(payload.size())}, room.first<frame_header_bytes>());
  std::ranges::copy(payload, room.begin() + frame_header_bytes);
  return frame_header_bytes + payload.size();
}

inline std::size_t write_empty_frame(std::span<std::byte> room, FrameType type, std::uint8_t flags, StreamId id) {
  encode_header({type, flags, id, 0}, room.first<frame_header_bytes>());
  return frame_header_bytes;
}

/// A frame whose payload is one number: a limit, a stamp or a reason.
template <std::unsigned_integral T>
std::size_t write_number_frame(std::span<std::byte> room, FrameType type, std::uint8_t flags, StreamId id, T value) {
  encode_header({type, flags, id, sizeof value}, room.first<frame_header_bytes>());
  store<T>(room.subspan(frame_header_bytes), value);
  return frame_header_bytes + sizeof value;
}

/// The longest of write_number_frame() and write_empty_frame().
inline constexpr std::size_t number_frame_bytes = frame_header_bytes + sizeof(std::uint64_t);

}  // namespace culvert::protocol
