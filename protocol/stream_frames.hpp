// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "protocol/frame_writer.hpp"
#include "protocol/stream.hpp"

// Writes what one stream owes its peer, at the start of `room`, and notes that it is paid. Each call returns the size
// written; 0: the room is too small.

namespace culvert::protocol {

/// The first of OPEN, REJECT, ACCEPT, FIN(ABORTED) and RESET that the stream owes. It must owe one.
std::size_t write_owed_frame(Stream& stream, std::span<std::byte> room);
/// The first HEAD that waits. There must be one, and credit.
std::size_t write_owed_head(Stream& stream, std::span<std::byte> room);

/// CREDIT and STOP, or PENDING, as far as they are owed. `room` must have urgent_bytes_max.
std::size_t write_credit_and_stop(Stream& stream, std::span<std::byte> room);
inline constexpr std::size_t urgent_bytes_max = 2 * number_frame_bytes;

}  // namespace culvert::protocol
