// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include "protocol/credit.hpp"

namespace culvert {

/// Now, in the protocol's unit, on a clock that never goes back.
inline protocol::Time monotonic_now() {
  return std::chrono::duration_cast<protocol::Time>(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace culvert
