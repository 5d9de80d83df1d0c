// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "protocol/credit.hpp"

// Limits for slow clients of the HTTP proxy (threats B20), checked once a second. Bytes after CONNECT or 101 have no
// limit here, and the mapping has the limits for the response of the back end.

namespace culvert::server {

inline constexpr std::chrono::seconds head_time_max{10};        ///< From the first byte of a head to its last.
inline constexpr std::chrono::seconds first_byte_time_max{10};  ///< For a client that has not sent anything yet.
inline constexpr std::chrono::seconds idle_time_max{300};       ///< Between two requests of a kept-alive client.
inline constexpr std::chrono::seconds stall_time_max{60};  ///< The client reads nothing although bytes wait for it.
inline constexpr std::chrono::seconds body_time_max{10};
inline constexpr std::size_t body_bytes_per_second_min = 256;

/// Measures whether a request's body arrives fast enough while the proxy waits for it.
class BodyPace {
 public:
  void note_received(std::size_t bytes) { bytes_ += bytes; }

  /// Call it each second. `waits`: all received bytes are used, more are wanted, and nothing else delays them.
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
  std::size_t bytes_ = 0;  ///< Received since `since_`.
};

/// Measures whether the client reads bytes that wait for it. A writable socket is not enough: the kernel reports it
/// only when a third of a large buffer is free, which may take a slow reader minutes.
class ReadingPace {
 public:
  /// Call it each second. `acknowledged`: how many bytes the client has acknowledged in all.
  bool is_stalled(bool something_waits, std::uint64_t acknowledged, protocol::Time now) {
    if (!something_waits || !began_ || acknowledged != acknowledged_) since_ = now;
    began_ = true;
    acknowledged_ = acknowledged;
    return now - since_ >= stall_time_max;
  }

 private:
  bool began_ = false;
  std::uint64_t acknowledged_ = 0;
  protocol::Time since_{0};
};

}  // namespace culvert::server
