// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <utility>

namespace culvert {

/// A value that several threads change, one at a time: a count that all workers share. For what is touched once per
/// connection or stream, never per frame.
template <typename T>
class Guarded {
 public:
  template <typename... Args>
  explicit Guarded(Args&&... args) : value_(std::forward<Args>(args)...) {}

  /// Calls `use` with the value, and returns its result, which must not refer to the value. `use` must be short.
  template <typename Use>
  auto with(const Use& use) {
    const std::lock_guard lock(mutex_);
    return use(value_);
  }

 private:
  std::mutex mutex_;
  T value_;
};

}  // namespace culvert
