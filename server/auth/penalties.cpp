// SPDX-License-Identifier: Apache-2.0
#include "server/auth/penalties.hpp"

#include <algorithm>

#include "common/net/source_network.hpp"

namespace culvert::server {

bool Penalties::accepts(const boost::asio::ip::address& source, Time now) const {
  const auto found = forgiven_at_.find(source_network(source));
  return found == forgiven_at_.end() || found->second - now <= (failures_max - 1) * forgiveness;
}

void Penalties::note_failure(const boost::asio::ip::address& source, Time now) {
  const auto key = source_network(source);
  if (const auto found = forgiven_at_.find(key); found != forgiven_at_.end()) {
    found->second = std::max(found->second, now) + forgiveness;
    return;
  }
  if (forgiven_at_.size() >= sources_max && now - swept_at_ >= forgiveness) {
    swept_at_ = now;
    std::erase_if(forgiven_at_, [now](const auto& entry) { return entry.second <= now; });
  }
  if (forgiven_at_.size() < sources_max) forgiven_at_.emplace(key, now + forgiveness);
}

}  // namespace culvert::server
