// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>

#include <boost/asio/ip/address.hpp>

namespace culvert {

/// What one connection waits for.
struct ClientWait {
  boost::asio::ip::address source;
  /// Since when it waits for its client. Empty: it waits for an answer of ours.
  std::optional<std::chrono::steady_clock::time_point> since;
};

/// Returns the index of the connection to close when there are too many: of the network that has most silent
/// connections, the one that has waited longest for its client. So a source with few connections, such as the kubelet,
/// loses none to a source with many. Empty if none waits for its client. Pure.
std::optional<std::size_t> longest_silent(std::span<const ClientWait> connections);

}  // namespace culvert
