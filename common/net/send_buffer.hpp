// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

namespace culvert {

/// Bytes that wait for a socket: appended at the end, sent from the front. Grows as needed. It keeps its memory when it
/// is empty; the destructor frees it.
class SendBuffer {
 public:
  explicit SendBuffer(std::size_t capacity_bytes) : bytes_(new std::byte[capacity_bytes]), capacity_(capacity_bytes) {}

  void append(std::span<const std::byte> more) {
    if (capacity_ - end_ < more.size()) make_room(more.size());
    std::memcpy(bytes_.get() + end_, more.data(), more.size());
    end_ += more.size();
  }
  std::span<const std::byte> bytes() const { return {bytes_.get() + begin_, end_ - begin_}; }
  void drop(std::size_t sent) {
    begin_ += sent;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  std::size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }

 private:
  void make_room(std::size_t more) {
    const std::size_t kept = size();
    if (kept + more > capacity_) {
      const std::size_t capacity = std::max(2 * capacity_, kept + more);
      std::unique_ptr<std::byte[]> larger(new std::byte[capacity]);
      std::memcpy(larger.get(), bytes_.get() + begin_, kept);
      bytes_ = std::move(larger);
      capacity_ = capacity;
    } else {
      std::memmove(bytes_.get(), bytes_.get() + begin_, kept);
    }
    begin_ = 0;
    end_ = kept;
  }

  std::unique_ptr<std::byte[]> bytes_;
  std::size_t capacity_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace culvert
