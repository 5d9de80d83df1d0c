// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <memory>
#include <string_view>

#include "common/admin/log.hpp"
#include "common/base/snapshot.hpp"
#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/net/allow_list.hpp"
#include "common/ports/client_port.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "server/auth/caller_check.hpp"
#include "server/config/config.hpp"
#include "server/proxy/proxy_error.hpp"

namespace culvert::server {

/// Rules for callers of the HTTP proxy. A reload changes them, for open connections too.
struct HttpProxyRules {
  CallerSettings callers;
  AskCaller ask = refuse_callers;
  std::chrono::milliseconds abandoned_after{30'000};  ///< HttpProxySettings::abandoned_after
  AllowList forwarded_networks;
  std::vector<std::string> forwarded_subjects;

  /// Whether X-Forwarded-* and Forwarded of a client are sent on. `subject` is that of its token; empty: none.
  bool trusts_forwarded_of(const boost::asio::ip::address& source, std::string_view subject) const;
};

/// The rules that the file states. `tokens` is nullptr without issuers. `passwords` outlives them.
std::shared_ptr<const HttpProxyRules> http_proxy_rules(const HttpProxySettings& settings,
                                                       std::shared_ptr<TokenCheck> tokens, PasswordChecker& passwords);

/// Shared by all connections of the HTTP proxy, on every worker.
struct HttpProxyContext {
  HttpProxyContext(const TunnelDirectory& tunnels, Log& program_log) : directory(tunnels), log(program_log) {}

  const TunnelDirectory& directory;
  Log& log;
  Snapshot<http::HeadLimits> head_limits{std::make_shared<const http::HeadLimits>()};  ///< Of requests.
  Snapshot<HttpProxyRules> rules{std::make_shared<const HttpProxyRules>()};
};

/// The fixed destination of all requests of a connection: inside a CONNECT to an HTTP mapping, and on a port for one
/// virtual host.
struct FixedHost {
  Endpoint authority;
  Route route;
};

/// Serves the HTTP proxy.
ClientPort::Serve serve_http_proxy(std::shared_ptr<const HttpProxyContext> context);
/// Serves a port that speaks HTTP for one virtual host: each request is sent to that host, with its name as Host.
ClientPort::Serve serve_http_host(std::shared_ptr<const HttpProxyContext> context, FixedHost host);

/// Reads the caller's credentials and location from a request, as `callers` configures it. The views in the result are
/// into `fields` and `proxy_authorization`. Errors: a response to send to the client.
std::expected<CallerQuestion, ProxyError> question_of(const http::Fields& fields, std::string_view proxy_authorization,
                                                      const CallerSettings& callers,
                                                      const boost::asio::ip::address& source);
/// Returns the response for a caller that is not allowed.
ProxyError error_of_caller(CallerFlaw flaw);

}  // namespace culvert::server
