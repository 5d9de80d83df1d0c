// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "server/auth/password_checker.hpp"
#include "server/auth/token_check.hpp"
#include "server/config/config.hpp"
#include "server/config/route.hpp"
#include "server/proxy/http_port.hpp"

namespace culvert::server {

/// The HTTP proxy through which workloads reach virtual hosts (docs/contracts.md 2). The arguments must outlive it.
std::shared_ptr<HttpPortContext> http_proxy(const TunnelDirectory& directory, Log& log);

/// The rules that the file states. `tokens` is nullptr without issuers. `passwords` outlives them.
std::shared_ptr<const HttpPortRules> http_proxy_rules(const HttpProxySettings& settings,
                                                      std::shared_ptr<TokenCheck> tokens, PasswordChecker& passwords);

/// Opens an exchange over a stream to an agent of this route, with the proxy's own fields added to the request.
void send_to_agent(ProxyClient& client, ClientExchange& exchange, Route route);

}  // namespace culvert::server
