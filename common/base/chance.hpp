// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <random>

namespace culvert {

/// Evenly spread in [0, 1), for pauses and choices that must differ between processes; not for secrets. Any thread.
inline double chance() {
  thread_local std::minstd_rand source{std::random_device{}()};
  return std::uniform_real_distribution<>(0, 1)(source);
}

}  // namespace culvert
