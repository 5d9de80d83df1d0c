// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <boost/asio/ip/address.hpp>

namespace culvert::server {

/// A replica of this server that is ready, as the EndpointSlices of the headless Service say.
struct Replica {
  std::string name;  ///< Its pod's name.
  std::vector<boost::asio::ip::address> addresses;
  friend bool operator==(const Replica&, const Replica&) = default;
};

}  // namespace culvert::server
