// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "protocol/credit.hpp"

namespace culvert {

/// Notices an origin whose streams are opened and reset at once, again and again (threats A8, after Envoy's rule): of
/// 500 that ended, half within a second by the opener's reset. For a moment then its new streams are refused, and the
/// targets are left in peace. One per origin and worker; pure.
class ChurnGuard {
 public:
  static constexpr std::uint32_t sample = 500;
  static constexpr protocol::Time quick = std::chrono::seconds(1);
  static constexpr protocol::Time penalty = std::chrono::seconds(1);

  /// A stream of the origin ended.
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
