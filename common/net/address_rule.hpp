// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/ip/address.hpp>

#include "common/net/allow_list.hpp"

namespace culvert {

/// Whether an address is of the public internet: not of this host, its link or a private network, in no form of IPv6
/// either that has such an address of IPv4 inside (RFC 6890). Asks the kernel for the addresses of this host.
bool is_public(const boost::asio::ip::address& address);

/// The addresses that a target may have, checked after its name is resolved (threats B13).
struct AddressRule {
  AllowList networks;
  bool and_public = false;  ///< Also the addresses that is_public() accepts.

  bool allows(const boost::asio::ip::address& address) const {
    return (!networks.empty() && networks.allows(address)) || (and_public && is_public(address));
  }
};

}  // namespace culvert
