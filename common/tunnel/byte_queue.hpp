// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace culvert {

/// What a socket refused, in order. Holds no memory while it is empty; how much it may hold is its stream's credit.
class ByteQueue {
 public:
  void append(std::span<const std::byte> more) {
    if (begin_ > bytes_.size() / 2) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(begin_));
      begin_ = 0;
    }
    bytes_.insert(bytes_.end(), more.begin(), more.end());
  }
  std::span<const std::byte> bytes() const { return std::span(bytes_).subspan(begin_); }
  void drop(std::size_t taken) {
    begin_ += taken;
    if (begin_ == bytes_.size()) clear();
  }
  void clear() {
    bytes_ = std::vector<std::byte>();  // `= {}` would keep the memory.
    begin_ = 0;
  }
  std::size_t size() const { return bytes_.size() - begin_; }
  bool empty() const { return begin_ == bytes_.size(); }

 private:
  std::vector<std::byte> bytes_;
  std::size_t begin_ = 0;
};

}  // namespace culvert
