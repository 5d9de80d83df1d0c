// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>

namespace culvert::simulation {

/// Everything random in a run comes from one seed.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed * 0x9e37'79b9'7f4a'7c15 + 1) {}
  /// 0 … n - 1; n is not 0.
  std::uint64_t below(std::uint64_t n) { return engine_() % n; }
  std::uint64_t between(std::uint64_t least, std::uint64_t most) { return least + below(most - least + 1); }
  bool chance(unsigned percent) { return below(100) < percent; }
  std::uint64_t one_of(std::initializer_list<std::uint64_t> values) { return values.begin()[below(values.size())]; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace culvert::simulation
