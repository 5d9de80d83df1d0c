// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "protocol/credit.hpp"

// How slow a client of the HTTP proxy may be (threats B20). All is judged once a second. What may stand as long as it
// likes is not here: what goes through after CONNECT or 101, and a response that does not come, which is the mapping's.

namespace culvert::server {

inline constexpr std::chrono::seconds head_time_max{10};   ///< From its first byte to its last.
inline constexpr std::chrono::seconds idle_time_max{300};  ///< Between two requests of a client that stays.
inline constexpr std::chrono::seconds stall_time_max{60};  ///< In which it takes nothing of what waits for it.
inline constexpr std::chrono::seconds body_time_max{10};
inline constexpr std::size_t body_bytes_per_second_min = 256;

/// Whether a request's body comes as fast as it must while it is waited for.
class BodyPace {
 public:
  void came(std::size_t bytes) { bytes_ += bytes; }

  /// Each second. `waits`: all that came is used, more is wanted, and nothing else holds it up.
  bool is_too_slow(bool waits, protocol::Time now) {
    if (!waits || !began_ || bytes_ >= body_bytes_per_second_min * body_time_max.count()) {
      began_ = true;
      since_ = now;
      bytes_ = 0;
    }
    return now - since_ >= body_time_max;
  }

 private:
  bool began_ = false;
  protocol::Time since_{0};
  std::size_t bytes_ = 0;  ///< Since then.
};

/// Whether the client takes something of what waits for it. That a socket can take more tells too little: the kernel
/// says so when a third of a large buffer is free, which a slow reader may need minutes for.
class TakingPace {
 public:
  /// Each second. `taken`: how many bytes the client has acknowledged in all.
  bool is_stalled(bool something_waits, std::uint64_t taken, protocol::Time now) {
    if (!something_waits || taken != taken_) since_ = now;
    taken_ = taken;
    return now - since_ >= stall_time_max;
  }

 private:
  std::uint64_t taken_ = 0;
  protocol::Time since_{0};
};

}  // namespace culvert::server
