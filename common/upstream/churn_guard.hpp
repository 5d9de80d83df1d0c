// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "protocol/credit.hpp"

namespace culvert {

/// Detects streams to one target that are opened and reset at once, repeatedly (threats A8, after Envoy's rule): of 500
/// that ended, the opener reset half within a second. New streams are then refused for `penalty`, to protect the
/// target. One per target and worker; pure.
class ChurnGuard {
 public:
  static constexpr std::uint32_t sample = 500;
  static constexpr protocol::Time quick = std::chrono::seconds(1);
  static constexpr protocol::Time penalty = std::chrono::seconds(1);

  /// A stream to the target ended.
  void note(protocol::Time lived, bool reset_by_opener, protocol::Time now) {
    if (reset_by_opener && lived < quick) ++quick_resets_;
    if (++ended_ < sample) return;
    if (2 * quick_resets_ >= ended_) refuse_until_ = now + penalty;
    ended_ = quick_resets_ = 0;
  }
  bool allows(protocol::Time now) const { return now >= refuse_until_; }

 private:
  std::uint32_t ended_ = 0;
  std::uint32_t quick_resets_ = 0;
  protocol::Time refuse_until_{0};
};

}  // namespace culvert
