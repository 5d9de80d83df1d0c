// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/pattern.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/simulation/random.hpp"

namespace culvert::simulation {
namespace {

// A prime: no window or frame size is a multiple of it.
constexpr std::size_t period = 65'521;

const std::vector<std::byte>& pattern() {
  static const std::vector<std::byte> bytes = [] {
    Random random(4711);
    std::vector<std::byte> made(2 * period);
    for (std::size_t i = 0; i < period; ++i) made[i] = made[i + period] = static_cast<std::byte>(random.below(256));
    return made;
  }();
  return bytes;
}

/// Calls `piece(bytes of the pattern, their position)` until the range is covered.
template <typename Piece>
bool over_pattern(std::size_t size, StreamId id, std::size_t from, std::uint64_t offset, Piece piece) {
  std::size_t at = (offset + id * 7'919ull + from * 31'337ull) % period;
  for (std::size_t done = 0; done < size;) {
    const std::size_t part = std::min(size - done, period);
    if (!piece(std::span(pattern()).subspan(at, part), done)) return false;
    done += part;
    at = (at + part) % period;
  }
  return true;
}

}  // namespace

void fill_pattern(std::span<std::byte> out, StreamId id, std::size_t from, std::uint64_t offset) {
  over_pattern(out.size(), id, from, offset, [out](std::span<const std::byte> part, std::size_t at) {
    std::memcpy(out.data() + at, part.data(), part.size());
    return true;
  });
}

bool matches_pattern(std::span<const std::byte> bytes, StreamId id, std::size_t from, std::uint64_t offset) {
  return over_pattern(bytes.size(), id, from, offset, [bytes](std::span<const std::byte> part, std::size_t at) {
    return std::memcmp(bytes.data() + at, part.data(), part.size()) == 0;
  });
}

}  // namespace culvert::simulation
