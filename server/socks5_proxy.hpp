// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "common/net/listener.hpp"
#include "server/socks5_client.hpp"

namespace culvert::server {

/// What a reload changes.
struct Socks5Rules {
  Socks5ProxySettings settings;
  CheckToken check_token;  ///< Empty: no tokens are taken.
};

/// The SOCKS5 proxy's door: accepts workloads' connections. Owned at home.
class Socks5Proxy {
 public:
  /// Binds at once. Errors: the listener's.
  static Result<std::unique_ptr<Socks5Proxy>> open(DataPlanes& planes, const TunnelDirectory& directory, Log& log,
                                                   Socks5Rules rules);
  /// Accepts no more, and checks no password any more. Connections that stand live on.
  ~Socks5Proxy();

  /// For connections from now on; the address stays.
  void change(Socks5Rules rules);
  Socks5ProxySettings settings() const;
  std::uint32_t connections() const { return around_->connections->taken(); }
  boost::asio::ip::tcp::endpoint local_endpoint() const { return listener_->local_endpoint(); }

 private:
  explicit Socks5Proxy(std::shared_ptr<Socks5Surroundings> around);
  std::shared_ptr<Socks5Surroundings> around_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace culvert::server
