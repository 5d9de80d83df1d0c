// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace culvert {

/// Limits how many bytes may wait for slow readers in the whole process: all streams of all workers. Any thread.
class MemoryBudget {
 public:
  /// `leases` is the number of MemoryLeases that will use it.
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
  /// Changes the size, on reload. What is granted stays granted.
  void resize(std::uint64_t bytes) {
    const auto total = static_cast<std::int64_t>(bytes);
    left_.fetch_add(total - total_.exchange(total), std::memory_order_relaxed);
  }
  /// Takes `bytes` even when they are not available: for what a peer may send without a grant.
  void charge(std::int64_t bytes) { left_.fetch_sub(bytes, std::memory_order_relaxed); }
  /// Bytes that a lease fetches at once. A lease keeps at most two such blocks, and all leases together at most a
  /// sixteenth of the budget: what idle workers keep must not look used up.
  std::int64_t block_bytes() const {
    return std::min(block_bytes_max, total_.load(std::memory_order_relaxed) / (32 * leases_));
  }
  /// Bytes that are not leased; negative when more was charged than was available.
  std::int64_t left() const { return left_.load(std::memory_order_relaxed); }
  /// True when less than a tenth is left: new streams are refused.
  bool is_exhausted() const {
    return left_.load(std::memory_order_relaxed) < total_.load(std::memory_order_relaxed) / 10;
  }
  /// True when less than a quarter is left: windows start small and none grows.
  bool is_short() const { return left_.load(std::memory_order_relaxed) < total_.load(std::memory_order_relaxed) / 4; }
  /// Bytes that a user of a lease should free: its part of what is missing until a tenth is left again. 0 unless less
  /// than a twentieth is left: then the largest streams that do not drain are reset (threats C10).
  std::uint64_t bytes_to_free() const {
    const std::int64_t total = total_.load(std::memory_order_relaxed);
    const std::int64_t left = left_.load(std::memory_order_relaxed);
    if (left >= total / 20) return 0;
    return static_cast<std::uint64_t>((total / 10 - left) / leases_);
  }

 private:
  friend class MemoryHolder;
  static constexpr std::int64_t block_bytes_max = 4 << 20;
  const std::int64_t leases_;
  std::atomic<std::int64_t> total_;
  std::atomic<std::int64_t> left_;
  std::atomic<std::int64_t> holders_{0};
};

/// One of those who share the budget, such as an account: how much of it their streams have. Any thread; touched once
/// per stream or growth of a window, never per frame.
class MemoryHolder {
 public:
  explicit MemoryHolder(MemoryBudget& budget) : budget_(budget) {
    budget_.holders_.fetch_add(1, std::memory_order_relaxed);
  }
  MemoryHolder(const MemoryHolder&) = delete;
  MemoryHolder& operator=(const MemoryHolder&) = delete;
  ~MemoryHolder() { budget_.holders_.fetch_sub(1, std::memory_order_relaxed); }

  void add(std::int64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  std::int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  /// True when new streams of this holder are refused: nothing is left, or less than a tenth, which is for holders with
  /// less than an equal share, counted as if there were one holder more.
  bool is_exhausted() const {
    if (!budget_.is_exhausted()) return false;
    const std::int64_t used = budget_.total_.load(std::memory_order_relaxed) - budget_.left();
    return budget_.left() <= 0 || bytes() * (budget_.holders_.load(std::memory_order_relaxed) + 1) >= used;
  }

 private:
  MemoryBudget& budget_;
  std::atomic<std::int64_t> bytes_{0};
};

/// One worker's share, fetched and returned in blocks, so that a stream's grant costs no shared write. On its worker.
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
  /// Bytes that are leased and not used.
  std::int64_t held() const { return held_; }
  bool is_short() const { return budget_.is_short(); }
  bool is_exhausted() const { return budget_.is_exhausted(); }
  std::uint64_t bytes_to_free() const { return budget_.bytes_to_free(); }

 private:
  MemoryBudget& budget_;
  std::int64_t held_ = 0;
};

}  // namespace culvert
