// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>

namespace culvert {

/// A value that many threads read and one replaces as a whole: built aside, checked, then published. Readers take it
/// once per connection or stream, never per frame, and keep what they took for as long as they need it.
template <typename T>
class Snapshot {
 public:
  explicit Snapshot(std::shared_ptr<const T> value) : value_(std::move(value)) {}
  std::shared_ptr<const T> get() const { return value_.load(std::memory_order_acquire); }
  void publish(std::shared_ptr<const T> value) { value_.store(std::move(value), std::memory_order_release); }

 private:
  std::atomic<std::shared_ptr<const T>> value_;
};

}  // namespace culvert
