// SPDX-License-Identifier: Apache-2.0
#include "common/net/source_network.hpp"

#include <algorithm>

namespace culvert {

boost::asio::ip::address source_network(const boost::asio::ip::address& source) {
  if (source.is_v4()) return source;
  const auto v6 = source.to_v6();
  if (v6.is_v4_mapped()) return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, v6);
  auto bytes = v6.to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return boost::asio::ip::address_v6(bytes);
}

}  // namespace culvert
