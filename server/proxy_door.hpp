// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/quota.hpp"
#include "common/net/listener.hpp"
#include "server/proxy_client.hpp"

namespace culvert::server {

/// A port for clients that speak HTTP. Its functions are asked for every connection, on any worker.
struct ProxyDoor {
  struct Rules {
    std::uint32_t connections_max = 0;
    std::optional<ProxyClient::Inside> inside;  ///< Where all requests go, whatever they say.
  };
  std::string name;  ///< For logs and errors: "http_proxy".
  std::shared_ptr<const ProxySurroundings> around;
  std::shared_ptr<Quota> connections;
  std::function<Rules()> rules;
  std::function<bool(const boost::asio::ip::address& source)> allows;
};
/// Binds at once, and accepts until the listener ends; connections live on. Errors: the listener's.
Result<std::unique_ptr<Listener>> open_door(const Endpoint& listen, ProxyDoor door);

}  // namespace culvert::server
