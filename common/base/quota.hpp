// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace culvert {

/// So many of something at once: connections of a mapping, streams or dials of a link. Any thread; touched per
/// connection, never per frame.
class Quota {
 public:
  /// A place that is free again when the last copy of it dies; nullptr where `max` are taken. It keeps the quota alive.
  static std::shared_ptr<Quota> take(const std::shared_ptr<Quota>& quota, std::uint32_t max) {
    if (quota->taken_.fetch_add(1, std::memory_order_relaxed) < max) {
      return {quota.get(), [quota](Quota*) { quota->taken_.fetch_sub(1, std::memory_order_relaxed); }};
    }
    quota->taken_.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
  }
  /// What it counts is not wanted any more: whoever has a place shall end what he does with it.
  void withdraw() { withdrawn_.store(true, std::memory_order_relaxed); }
  bool is_withdrawn() const { return withdrawn_.load(std::memory_order_relaxed); }
  std::uint32_t taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint32_t> taken_{0};
  std::atomic<bool> withdrawn_{false};
};

/// What one peer process may have here at once, over all its tunnels.
struct LinkQuota {
  std::shared_ptr<Quota> streams = std::make_shared<Quota>();
  std::shared_ptr<Quota> dials = std::make_shared<Quota>();
};

}  // namespace culvert
