// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "common/base/error.hpp"
#include "common/config/settings.hpp"
#include "common/net/listener.hpp"
#include "server/proxy_client.hpp"

namespace culvert::server {

/// A port that speaks HTTP for one virtual host: every request is parsed, gets that host as its Host, and goes where
/// the host is, whatever it says itself. Owned at home; what it does, it does on the workers.
class HostListener {
 public:
  struct Settings {
    ListenSettings port;
    Endpoint virtual_host;
    ProxyRoute route;
    std::string name;  ///< For logs.
  };
  /// Binds at once. Errors: the listener's.
  static Result<std::unique_ptr<HostListener>> open(DataPlanes& planes, const TunnelDirectory& directory, Log& log,
                                                    Settings settings);
  HostListener(const HostListener&) = delete;
  HostListener& operator=(const HostListener&) = delete;
  /// Accepts no more. Connections that stand live on.
  ~HostListener();

  /// For the connections from now on; the address stays.
  void change(Settings settings);

 private:
  struct Shared;
  explicit HostListener(std::shared_ptr<Shared> shared);

  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace culvert::server
