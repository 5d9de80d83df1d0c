// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/port_pool.hpp"

#include <algorithm>

namespace culvert::server {

void PortPool::update(const std::set<std::uint16_t>& in_use) {
  std::erase_if(free_, [&](std::uint16_t port) { return in_use.contains(port); });
  std::set<std::uint16_t> known(free_.begin(), free_.end());
  const int count = range_.high - range_.low + 1;
  int first = 0;
  if (!is_filled_) {
    const auto highest = std::ranges::find_if(in_use.rbegin(), in_use.rend(),
                                              [this](std::uint16_t port) { return range_.contains(port); });
    if (highest != in_use.rend()) first = *highest - range_.low + 1;
  }
  is_filled_ = true;
  for (int i = 0; i < count; ++i) {
    const auto port = static_cast<std::uint16_t>(range_.low + (first + i) % count);
    if (!in_use.contains(port) && !known.contains(port)) free_.push_back(port);
  }
}

std::uint16_t PortPool::take() {
  if (free_.empty()) return 0;
  const std::uint16_t port = free_.front();
  free_.pop_front();
  return port;
}

}  // namespace culvert::server
