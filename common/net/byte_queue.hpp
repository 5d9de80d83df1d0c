// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace culvert {

/// What a socket refused, in order. Holds no memory while it is empty, and little more than what waits: in blocks,
/// since one piece of several MiB that grows stands there twice while it moves. How much it may hold is its stream's
/// credit.
class ByteQueue {
 public:
  void append(std::span<const std::byte> more) {
    size_ += more.size();
    while (!more.empty()) {
      if (blocks_.empty() || blocks_.back().size() == block_bytes) blocks_.emplace_back();
      auto& last = blocks_.back();
      const auto piece = more.first(std::min(more.size(), block_bytes - last.size()));
      last.insert(last.end(), piece.begin(), piece.end());
      more = more.subspan(piece.size());
    }
  }
  /// The first of them, as many as lie together; none only while it is empty.
  std::span<const std::byte> front() const {
    return empty() ? std::span<const std::byte>() : std::span(blocks_.front()).subspan(begin_);
  }
  /// At most what front() gives.
  void drop(std::size_t taken) {
    begin_ += taken;
    size_ -= taken;
    if (size_ == 0) return clear();
    if (begin_ < blocks_.front().size()) return;
    blocks_.erase(blocks_.begin());
    begin_ = 0;
  }
  void clear() {
    blocks_ = std::vector<std::vector<std::byte>>();  // `= {}` would keep the memory.
    begin_ = size_ = 0;
  }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  static constexpr std::size_t block_bytes = 64 << 10;

 private:
  std::vector<std::vector<std::byte>> blocks_;
  std::size_t begin_ = 0;  ///< Of what is left in the first block.
  std::size_t size_ = 0;
};

}  // namespace culvert
