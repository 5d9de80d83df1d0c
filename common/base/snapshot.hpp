// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace culvert {

/// A value that many threads read and one thread replaces as a whole: built aside, checked, then published. Readers get
/// it once per connection or stream, never per frame, and keep it as long as they need it. It is behind a mutex, since
/// a load of libstdc++ 12's std::atomic<std::shared_ptr> releases its inner lock with relaxed order.
template <typename T>
class Snapshot {
 public:
  explicit Snapshot(std::shared_ptr<const T> value) : value_(std::move(value)) {}
  std::shared_ptr<const T> get() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  /// Destroys the old value outside of the lock, if no reader holds it.
  void publish(std::shared_ptr<const T> value) {
    const std::lock_guard lock(mutex_);
    value_.swap(value);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;
};

}  // namespace culvert
