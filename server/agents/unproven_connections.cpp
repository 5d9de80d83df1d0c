// SPDX-License-Identifier: Apache-2.0
#include "server/agents/unproven_connections.hpp"

#include "common/net/source_network.hpp"

namespace culvert::server {

bool UnprovenConnections::admit(const boost::asio::ip::address& source, double chance) {
  if (size_ >= connections_max_) return false;
  const auto network = source_network(source);
  if (size_ >= drop_from_) {
    const auto found = networks_.find(network);
    const std::uint64_t own = found == networks_.end() ? 0 : found->second;
    const bool has_many = own * networks_.size() >= size_;
    // More likely close to the limit, as OpenSSH does.
    if (has_many && chance * (drop_all_ - drop_from_) < size_ - drop_from_) return false;
  }
  ++networks_[network];
  ++size_;
  return true;
}

void UnprovenConnections::leave(const boost::asio::ip::address& source) {
  const auto found = networks_.find(source_network(source));
  if (found == networks_.end()) return;
  --size_;
  if (--found->second == 0) networks_.erase(found);
}

}  // namespace culvert::server
