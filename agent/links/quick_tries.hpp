// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>

namespace culvert::agent {

/// The dials that all links of one server may make without a pause, since another replica may answer the next one: a
/// server that announces replicas which do not exist must not be dialled in a loop. Many at first, then a few.
class QuickTries {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  static constexpr double at_once_max = 256;
  static constexpr double per_second = 2;

  /// Returns whether there is one left, and takes it.
  bool take(TimePoint now) {
    const std::chrono::duration<double> passed = now - filled_at_;
    if (now > filled_at_) left_ = std::min(at_once_max, left_ + passed.count() * per_second);
    filled_at_ = std::max(filled_at_, now);
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  double left_ = at_once_max;
  TimePoint filled_at_;
};

}  // namespace culvert::agent
