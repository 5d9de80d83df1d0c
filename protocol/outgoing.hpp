// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocol/frame.hpp"
#include "protocol/limits.hpp"

// What Session::next_outgoing() answers, and what the driver says to commit().

namespace culvert::protocol {

/// Room in the driver's staging buffer for the payload of one DATA frame, to be filled by the source of `user`.
struct Slot {
  StreamId stream;
  void* user;
  std::span<std::byte> payload;
};
/// What next_outgoing() did with the room.
struct Outgoing {
  enum class Kind : std::uint8_t {
    nothing,  ///< There is nothing to send.
    full,     ///< There is something to send, but `room` is too small for it.
    frames,   ///< `bytes` of whole frames were written at the start of `room`.
    slot,     ///< Fill `slot`, then commit().
  };
  Kind kind = Kind::nothing;
  std::size_t bytes = 0;
  Slot slot{};
};
/// What the source reported while its slot was filled.
enum class Source : std::uint8_t {
  more,     ///< It may have more.
  blocked,  ///< It has nothing now; set_readable() follows when it has.
  ended,    ///< Clean end: FIN.
  aborted,  ///< It failed, while the other direction may live on: FIN(ABORTED).
};

/// The smallest staging buffer of a driver: the longest HEAD with its header, and some more.
inline constexpr std::size_t outgoing_bytes_min = head_payload_bytes_max + 1'024;

}  // namespace culvert::protocol
