// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace culvert {

/// A count that only grows. One thread, its owner, writes it; any thread reads it, for metrics and `status`. It costs
/// as much as a plain integer: a relaxed load and store, no read-modify-write.
class Counter {
 public:
  Counter() = default;
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;

  /// Owner only.
  void add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  /// From any thread; may be a moment old.
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A number of things that exist now. Like Counter, but it goes both ways. May be negative where one worker adds and
/// another one subtracts.
class Gauge {
 public:
  Gauge() = default;
  Gauge(const Gauge&) = delete;
  Gauge& operator=(const Gauge&) = delete;

  /// Owner only.
  void add(std::int64_t n = 1) { set(value() + n); }
  /// Owner only.
  void sub(std::int64_t n = 1) { set(value() - n); }
  /// Owner only.
  void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  /// From any thread; may be a moment old.
  std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

}  // namespace culvert
