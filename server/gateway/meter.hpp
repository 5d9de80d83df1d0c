// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace culvert::server {

/// What went to and came from one target. Written on every worker, once per request, and read by any thread.
class Meter {
 public:
  /// Of the durations.
  static constexpr std::array<double, 10> bounds_seconds{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30};

  struct Totals {
    std::array<std::uint64_t, 6> responses{};  ///< By status / 100; [0]: none came.
    std::array<std::uint64_t, bounds_seconds.size() + 1> durations{};
    std::chrono::microseconds time{0};
    std::uint64_t bytes_sent = 0;      ///< Of requests' bodies.
    std::uint64_t bytes_received = 0;  ///< Of responses' bodies.
    std::uint64_t requests() const { return std::accumulate(responses.begin(), responses.end(), std::uint64_t{0}); }
  };
  Totals totals() const;

  /// An exchange has ended; `status` is 0 if no response came.
  void note(int status, std::chrono::microseconds time, std::uint64_t sent, std::uint64_t received);

 private:
  using Count = std::atomic<std::uint64_t>;
  static constexpr auto order = std::memory_order_relaxed;

  std::array<Count, 6> responses_{};
  std::array<Count, bounds_seconds.size() + 1> durations_{};
  Count time_us_{0};
  Count bytes_sent_{0};
  Count bytes_received_{0};
};

inline void Meter::note(int status, std::chrono::microseconds time, std::uint64_t sent, std::uint64_t received) {
  const auto kind = static_cast<std::size_t>(status) / 100;
  responses_[kind < responses_.size() ? kind : 0].fetch_add(1, order);
  const double seconds = std::chrono::duration<double>(time).count();
  std::size_t at = 0;
  while (at < bounds_seconds.size() && seconds > bounds_seconds[at]) ++at;
  durations_[at].fetch_add(1, order);
  time_us_.fetch_add(static_cast<std::uint64_t>(time.count()), order);
  bytes_sent_.fetch_add(sent, order);
  bytes_received_.fetch_add(received, order);
}

inline Meter::Totals Meter::totals() const {
  Totals totals;
  for (std::size_t i = 0; i < responses_.size(); ++i) totals.responses[i] = responses_[i].load(order);
  for (std::size_t i = 0; i < durations_.size(); ++i) totals.durations[i] = durations_[i].load(order);
  totals.time = std::chrono::microseconds(time_us_.load(order));
  totals.bytes_sent = bytes_sent_.load(order);
  totals.bytes_received = bytes_received_.load(order);
  return totals;
}

}  // namespace culvert::server
