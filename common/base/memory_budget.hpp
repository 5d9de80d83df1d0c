// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace culvert {

/// One number for the process: how many bytes may wait for slow readers, over all streams of all workers. Any thread.
class MemoryBudget {
 public:
  /// `leases` is how many MemoryLeases there will be.
  explicit MemoryBudget(std::uint64_t bytes, std::size_t leases = 1)
      : leases_(static_cast<std::int64_t>(leases)),
        total_(static_cast<std::int64_t>(bytes)),
        left_(static_cast<std::int64_t>(bytes)) {}

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
  /// How much a lease fetches at once. It keeps two of them at most, and all of them together a sixteenth of the whole:
  /// what idle workers keep must not look used up.
  std::int64_t block_bytes() const {
    return std::min(block_bytes_max, total_.load(std::memory_order_relaxed) / (32 * leases_));
  }
  /// What nobody has leased; negative where peers took more than was there.
  std::int64_t left() const { return left_.load(std::memory_order_relaxed); }
  /// True below a tenth of the whole: new streams are refused.
  bool is_exhausted() const {
    return left_.load(std::memory_order_relaxed) < total_.load(std::memory_order_relaxed) / 10;
  }
  /// True below a quarter of the whole: windows start small and none grows.
  bool is_short() const { return left_.load(std::memory_order_relaxed) < total_.load(std::memory_order_relaxed) / 4; }

 private:
  static constexpr std::int64_t block_bytes_max = 4 << 20;
  const std::int64_t leases_;
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
      const std::int64_t block = std::max(missing, budget_.block_bytes());
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
    const std::int64_t block = budget_.block_bytes();
    if (held_ <= 2 * block) return;
    budget_.give(held_ - block);
    held_ = block;
  }
  /// Leased and not used.
  std::int64_t held() const { return held_; }
  bool is_short() const { return budget_.is_short(); }
  bool is_exhausted() const { return budget_.is_exhausted(); }

 private:
  MemoryBudget& budget_;
  std::int64_t held_ = 0;
};

}  // namespace culvert
