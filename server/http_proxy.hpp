// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "common/base/quota.hpp"
#include "common/base/snapshot.hpp"
#include "common/net/listener.hpp"
#include "server/config.hpp"
#include "server/proxy_client.hpp"
#include "server/token_check.hpp"

namespace culvert::server {

/// What a reload changes.
struct HttpProxyRules {
  HttpProxySettings settings;
  std::shared_ptr<TokenCheck> tokens;  ///< nullptr: no token is asked for.
};

/// The HTTP proxy's door: accepts workloads' connections and says whose agents each request may go to. Owned at home.
class HttpProxy {
 public:
  /// Binds at once. Errors: the listener's.
  static Result<std::unique_ptr<HttpProxy>> open(DataPlanes& planes, const TunnelDirectory& directory, Log& log,
                                                 HttpProxyRules rules);
  /// Accepts no more. Connections that stand live on.
  ~HttpProxy();

  /// For connections and requests from now on; the address stays.
  void change(HttpProxyRules rules);
  HttpProxySettings settings() const;
  std::uint32_t connections() const;

 private:
  struct Shared;
  explicit HttpProxy(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace culvert::server
