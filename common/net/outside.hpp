// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/ip/address.hpp>

namespace culvert {

/// Returns whether an address is neither of this host nor link-local nor a cloud's metadata service. A name may resolve
/// to such an address without being configured (threats B13). Asks the kernel for the addresses of this host.
bool is_outside(const boost::asio::ip::address& address);

}  // namespace culvert
