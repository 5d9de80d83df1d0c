// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>

#include <boost/asio/ip/address.hpp>

namespace culvert::server {

/// The connections to the tunnel port that have not proven an identity and been welcomed yet, and which new ones to
/// drop before their handshake (threats C11). While there are many, a random part is dropped, but only of the networks
/// that have at least the average. So a flood from one address drops its own connections, and where a balancer hides
/// the sources, all of them drop alike. Pure.
class UnprovenConnections {
 public:
  /// From half of `connections_max` on some are dropped, and from 7/8 on all, of networks with at least the average.
  explicit UnprovenConnections(std::uint32_t connections_max = 1'024)
      : connections_max_(connections_max), drop_from_(connections_max / 2), drop_all_(connections_max / 8 * 7) {}

  /// Counts a connection from `source`, or returns false: drop it. `chance` is evenly spread in [0, 1).
  bool admit(const boost::asio::ip::address& source, double chance);
  /// A connection that was admitted has been welcomed, or has ended.
  void leave(const boost::asio::ip::address& source);

  std::uint32_t size() const { return size_; }

 private:
  const std::uint32_t connections_max_;
  const std::uint32_t drop_from_;
  const std::uint32_t drop_all_;
  std::map<boost::asio::ip::address, std::uint32_t> networks_;
  std::uint32_t size_ = 0;
};

}  // namespace culvert::server
