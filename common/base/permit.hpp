// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "common/base/fair_quota.hpp"

namespace culvert {

class Quota;

/// One unit of a Quota, given back when the last copy is destroyed. It keeps its quota alive.
using Permit = std::shared_ptr<Quota>;

/// A count of something that may exist so many times at once: connections of a mapping or a port, streams or dials of a
/// link. Any thread; touched per connection, never per frame.
class Quota {
 public:
  /// nullptr where `max` permits are out.
  static Permit take(const std::shared_ptr<Quota>& quota, std::uint32_t max) {
    if (quota->taken_.fetch_add(1, std::memory_order_relaxed) < max) {
      return {quota.get(), [quota](Quota*) { quota->taken_.fetch_sub(1, std::memory_order_relaxed); }};
    }
    quota->taken_.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
  }
  /// What it counts is not allowed any more: holders of a permit must end what they do with it.
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
  /// Descriptors, which peers share: each stream takes one for `holder`, the peer's account. nullptr: not limited.
  std::shared_ptr<FairQuota> descriptors;
  std::string holder;
};

/// The limits of a LinkQuota.
struct LinkLimits {
  std::uint32_t streams_max = 10'000;
  std::uint32_t dials_max = 256;
};

}  // namespace culvert
