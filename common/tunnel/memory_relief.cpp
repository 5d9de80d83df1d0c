// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/memory_relief.hpp"

#include <algorithm>
#include <functional>

namespace culvert {

std::vector<std::size_t> streams_to_reset(std::span<const WaitingStream> streams, std::uint64_t needed_bytes) {
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (streams[i].still >= still_time_min) chosen.push_back(i);
  }
  std::ranges::sort(chosen, std::ranges::greater(), [&](std::size_t i) { return streams[i].held_bytes; });
  std::uint64_t freed = 0;
  std::size_t count = 0;
  while (count < chosen.size() && freed < needed_bytes) freed += streams[chosen[count++]].held_bytes;
  chosen.resize(count);
  return chosen;
}

}  // namespace culvert
