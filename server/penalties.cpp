// SPDX-License-Identifier: Apache-2.0
#include "server/penalties.hpp"

#include <algorithm>

namespace culvert::server {

namespace {

boost::asio::ip::address key_of(const boost::asio::ip::address& source) {
  if (source.is_v4()) return source;
  const auto v6 = source.to_v6();
  if (v6.is_v4_mapped()) return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, v6);
  auto bytes = v6.to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return boost::asio::ip::address_v6(bytes);
}

}  // namespace

bool Penalties::listens_to(const boost::asio::ip::address& source, Time now) const {
  const auto found = forgiven_at_.find(key_of(source));
  return found == forgiven_at_.end() || found->second - now <= (failures_max - 1) * forgiveness;
}

void Penalties::note_failure(const boost::asio::ip::address& source, Time now) {
  const auto key = key_of(source);
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
