// SPDX-License-Identifier: Apache-2.0
#include "common/admin/longest_silent.hpp"

#include <map>

#include "common/net/source_network.hpp"

namespace culvert {

std::optional<std::size_t> longest_silent(std::span<const ClientWait> connections) {
  struct Network {
    std::size_t silent = 0;
    std::size_t longest = 0;
  };
  std::map<boost::asio::ip::address, Network> networks;
  const Network* most = nullptr;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    if (!connections[i].since) continue;
    Network& network = networks[source_network(connections[i].source)];
    if (network.silent++ == 0 || connections[i].since < connections[network.longest].since) network.longest = i;
  }
  for (const auto& [address, network] : networks) {
    const auto since = [&](const Network& each) { return connections[each.longest].since; };
    if (most == nullptr || network.silent > most->silent ||
        (network.silent == most->silent && since(network) < since(*most)))
      most = &network;
  }
  if (most == nullptr) return std::nullopt;
  return most->longest;
}

}  // namespace culvert
