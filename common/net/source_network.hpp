// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/ip/address.hpp>

namespace culvert {

/// The network that counts as one source: an IPv4 address, or the /64 of an IPv6 address, since one machine may use all
/// addresses of it. An IPv4-mapped address is its IPv4 address.
boost::asio::ip::address source_network(const boost::asio::ip::address& source);

}  // namespace culvert
