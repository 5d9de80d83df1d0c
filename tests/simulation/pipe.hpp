// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "protocol/credit.hpp"
#include "tests/simulation/random.hpp"

namespace culvert::simulation {

using protocol::Time;
using Bytes = std::vector<std::byte>;

/// One direction of the worst connection that TCP allows: bytes arrive in order and undamaged, but late, in pieces of
/// any size, at times not at all, and perhaps never again.
class Pipe {
 public:
  explicit Pipe(Random& random)
      : random_(random),
        delay_max_(random.one_of({0, 1, 20, 200}) * 1'000),
        capacity_(random.between(5'000, 400'000)) {}

  /// How many bytes the sender's socket would accept.
  std::size_t room() const { return capacity_ - std::min(capacity_, held_); }
  void write(std::span<const std::byte> bytes, Time now) {
    if (cut_ || bytes.empty()) return;
    last_ready_ = std::max(last_ready_, now + Time(static_cast<Time::rep>(random_.below(delay_max_ + 1))));
    held_ += bytes.size();
    chunks_.push_back({last_ready_, Bytes(bytes.begin(), bytes.end())});
  }
  /// The bytes that arrive in one read; may be empty.
  Bytes read(Time now) {
    Bytes got;
    if (cut_ || now < stalled_until_) return got;
    std::size_t want = random_.chance(20) ? random_.between(1, 40) : random_.between(1, 100'000);
    while (want > 0 && !chunks_.empty() && chunks_.front().ready <= now) {
      Chunk& chunk = chunks_.front();
      const std::size_t size = std::min(want, chunk.bytes.size() - chunk.taken);
      const auto from = chunk.bytes.begin() + static_cast<std::ptrdiff_t>(chunk.taken);
      got.insert(got.end(), from, from + static_cast<std::ptrdiff_t>(size));
      chunk.taken += size;
      want -= size;
      if (chunk.taken == chunk.bytes.size()) chunks_.pop_front();
    }
    held_ -= got.size();
    return got;
  }
  void stall(Time until) { stalled_until_ = std::max(stalled_until_, until); }
  void heal() {
    stalled_until_ = Time(0);
    delay_max_ = 0;
  }
  /// From now on no byte arrives.
  void cut() {
    cut_ = true;
    chunks_.clear();
    held_ = 0;
  }

 private:
  struct Chunk {
    Time ready;
    Bytes bytes;
    std::size_t taken = 0;
  };
  Random& random_;
  std::uint64_t delay_max_;  ///< µs
  std::size_t capacity_;
  std::size_t held_ = 0;
  std::deque<Chunk> chunks_;
  Time last_ready_{0};
  Time stalled_until_{0};
  bool cut_ = false;
};

}  // namespace culvert::simulation
