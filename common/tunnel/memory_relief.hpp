// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace culvert {

/// A stream with bytes that wait for a slow reader.
struct WaitingStream {
  std::uint64_t held_bytes = 0;       ///< Its share of the memory budget.
  std::chrono::microseconds still{};  ///< For how long its reader has taken nothing.
};

/// A reader that takes nothing for so long does not drain its stream. The kernel's buffers hide a slow one for seconds.
inline constexpr std::chrono::seconds still_time_min{5};

/// Returns the indices of the streams to reset so that `needed_bytes` of the memory budget become free: of those that
/// do not drain the largest, as few as possible; none that drains (threats C10). Pure.
std::vector<std::size_t> streams_to_reset(std::span<const WaitingStream> streams, std::uint64_t needed_bytes);

}  // namespace culvert
