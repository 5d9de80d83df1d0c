// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace culvert {

/// One number for the process: how many bytes may wait for slow readers, over all streams of all workers. Any thread.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::uint64_t bytes)
      : total_(static_cast<std::int64_t>(bytes)), left_(static_cast<std::int64_t>(bytes)) {}

  /// Takes `bytes`, all or nothing.
  bool take(std::int64_t bytes) {
    if (left_.fetch_sub(bytes, std::memory_order_relaxed) >= bytes) return true;
    left_.fetch_add(bytes, std::memory_order_relaxed);
    return false;
  }
  void give(std::int64_t bytes) { left_.fetch_add(bytes, std::memory_order_relaxed); }
  /// A new size, by reload. What is granted stays granted.
  void resize(std::uint64_t bytes) {
    const auto total = static_cast<std::int64_t>(bytes);
    left_.fetch_add(total - total_.exchange(total), std::memory_order_relaxed);
  }
  /// Takes `bytes` even where they are not there: what a peer may send before anybody is asked.
  void charge(std::int64_t bytes) { left_.fetch_sub(bytes, std::memory_order_relaxed); }
  /// What nobody has leased; negative where peers took more than was there.
  std::int64_t left() const { return left_.load(std::memory_order_relaxed); }
  /// True below a tenth of the whole: new streams are refused.
  bool is_exhausted() const {
    return left_.load(std::memory_order_relaxed) < total_.load(std::memory_order_relaxed) / 10;
  }
  /// True below a quarter of the whole: windows start small and none grows.
  bool is_short() const { return left_.load(std::memory_order_relaxed) < total_.load(std::memory_order_relaxed) / 4; }

 private:
  std::atomic<std::int64_t> total_;
  std::atomic<std::int64_t> left_;
};

/// One worker's share, fetched and returned in blocks so that a stream's grant costs no shared write. On its worker.
class MemoryLease {
 public:
  explicit MemoryLease(MemoryBudget& budget) : budget_(budget) {}
  MemoryLease(const MemoryLease&) = delete;
  MemoryLease& operator=(const MemoryLease&) = delete;
  ~MemoryLease() { budget_.give(held_); }

  bool take(std::uint64_t bytes) {
    const auto wanted = static_cast<std::int64_t>(bytes);
    if (wanted > held_) {
      const std::int64_t missing = wanted - held_;
      const std::int64_t block = missing > block_bytes ? missing : block_bytes;
      if (budget_.take(block)) {
        held_ += block;
      } else if (budget_.take(missing)) {
        held_ += missing;
      } else {
        return false;
      }
    }
    held_ -= wanted;
    return true;
  }
  void charge(std::uint64_t bytes) {
    if (take(bytes)) return;
    budget_.charge(static_cast<std::int64_t>(bytes));
  }
  void give(std::uint64_t bytes) {
    held_ += static_cast<std::int64_t>(bytes);
    if (held_ <= 2 * block_bytes) return;
    budget_.give(held_ - block_bytes);
    held_ = block_bytes;
  }
  /// Leased and not used.
  std::int64_t held() const { return held_; }
  bool is_short() const { return budget_.is_short(); }
  bool is_exhausted() const { return budget_.is_exhausted(); }

 private:
  static constexpr std::int64_t block_bytes = 4 << 20;
  MemoryBudget& budget_;
  std::int64_t held_ = 0;
};

}  // namespace culvert
