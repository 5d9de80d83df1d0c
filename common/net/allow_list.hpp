// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "common/base/error.hpp"

namespace culvert {

/// Networks whose clients may connect to a listener. Pure value; an empty list allows loopback sources only.
class AllowList {
 public:
  /// Adds "10.0.0.0/8", "fd00::/8" or a single address. Host bits beyond the prefix are an error (code
  /// "allow_from.malformed"), since they hint at a typing mistake.
  Result<void> add(std::string_view cidr);
  /// An IPv4-mapped IPv6 source counts as its IPv4 address.
  bool allows(const boost::asio::ip::address& source) const;
  bool empty() const { return networks_.empty(); }
  /// "10.0.0.0/8 fd00::/8"
  std::string text() const;
  friend bool operator==(const AllowList&, const AllowList&) = default;

 private:
  struct Network {
    boost::asio::ip::address address;
    unsigned prefix_bits;
    friend bool operator==(const Network&, const Network&) = default;
  };
  std::vector<Network> networks_;
};

}  // namespace culvert
