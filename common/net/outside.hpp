// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/ip/address.hpp>

namespace culvert {

/// Whether an address is neither this host's nor its link's, nor the metadata service of a cloud: where the DNS of a
/// name may lead without more ado (threats B13). Asks the kernel for the addresses of this host.
bool is_outside(const boost::asio::ip::address& address);

}  // namespace culvert
