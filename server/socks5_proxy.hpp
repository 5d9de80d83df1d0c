// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "common/net/listener.hpp"
#include "server/socks5_client.hpp"

namespace culvert::server {

/// The SOCKS5 proxy's door: accepts workloads' connections. Owned at home.
class Socks5Proxy {
 public:
  /// Binds at once. Tokens are taken where there is somebody to check them. Errors: the listener's.
  static Result<std::unique_ptr<Socks5Proxy>> open(DataPlanes& planes, const TunnelDirectory& directory, Log& log,
                                                   Socks5ProxySettings settings, TokenCheck check_token = {});
  /// Accepts no more, and checks no password any more. Connections that stand live on.
  ~Socks5Proxy();

  /// For connections from now on; the address stays.
  void change(Socks5ProxySettings settings);
  Socks5ProxySettings settings() const;
  boost::asio::ip::tcp::endpoint local_endpoint() const { return listener_->local_endpoint(); }

 private:
  explicit Socks5Proxy(std::shared_ptr<Socks5Surroundings> around);
  std::shared_ptr<Socks5Surroundings> around_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace culvert::server
