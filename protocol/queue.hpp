// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace culvert::protocol {

/// First in, first out. Instead of std::deque, which takes half a kilobyte before its first item, three times per idle
/// tunnel: this queue takes no memory before its first item, and little whenever it is empty.
template <typename T>
class Queue {
 public:
  bool empty() const { return begin_ == items_.size(); }
  std::size_t size() const { return items_.size() - begin_; }
  T& front() { return items_[begin_]; }

  void push_back(T item) {
    // Before the vector grows, reuse the space of the popped items, unless that moves more items than it frees.
    if (items_.size() == items_.capacity() && begin_ > items_.size() / 2) {
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(begin_));
      begin_ = 0;
    }
    items_.push_back(std::move(item));
  }
  /// The item must have been moved from, or own nothing: it may be destroyed later.
  void pop_front() {
    if (++begin_ < items_.size()) return;
    items_.clear();
    begin_ = 0;
    if (items_.capacity() > kept_items) items_ = std::vector<T>();  // `= {}` would keep the memory.
  }
  /// Removes the last items until `count` are left.
  void shrink(std::size_t count) {
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(begin_ + count), items_.end());
  }

 private:
  static constexpr std::size_t kept_items = 8;
  std::vector<T> items_;
  std::size_t begin_ = 0;
};

}  // namespace culvert::protocol
