// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace culvert::server {

/// What went to and came from one target. Written on every worker, once per request, and read by any thread.
struct Meter {
  static constexpr std::array<double, 10> bounds_seconds{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30};

  std::array<std::atomic<std::uint64_t>, 6> responses{};  ///< By status / 100; [0]: none came.
  std::array<std::atomic<std::uint64_t>, bounds_seconds.size() + 1> durations{};
  std::atomic<std::uint64_t> duration_us{0};
  std::atomic<std::uint64_t> bytes_sent{0};      ///< Of requests' bodies.
  std::atomic<std::uint64_t> bytes_received{0};  ///< Of responses' bodies.

  /// An exchange has ended; `status` is 0 if no response came.
  void note(int status, std::chrono::microseconds time, std::uint64_t sent, std::uint64_t received);
};

inline void Meter::note(int status, std::chrono::microseconds time, std::uint64_t sent, std::uint64_t received) {
  constexpr auto order = std::memory_order_relaxed;
  const auto kind = static_cast<std::size_t>(status) / 100;
  responses[kind < responses.size() ? kind : 0].fetch_add(1, order);
  const double seconds = std::chrono::duration<double>(time).count();
  std::size_t at = 0;
  while (at < bounds_seconds.size() && seconds > bounds_seconds[at]) ++at;
  durations[at].fetch_add(1, order);
  duration_us.fetch_add(static_cast<std::uint64_t>(time.count()), order);
  bytes_sent.fetch_add(sent, order);
  bytes_received.fetch_add(received, order);
}

}  // namespace culvert::server
