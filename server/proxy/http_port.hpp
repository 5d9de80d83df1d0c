// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "common/admin/log.hpp"
#include "common/base/snapshot.hpp"
#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/target.hpp"
#include "common/net/allow_list.hpp"
#include "common/net/endpoint.hpp"
#include "common/ports/client_port.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "server/auth/caller_check.hpp"
#include "server/config/config.hpp"
#include "server/proxy/proxy_error.hpp"

namespace culvert::server {

class ClientExchange;
class ProxyClient;

/// Rules for callers of a port that speaks HTTP. A reload changes them, for open connections too.
struct HttpPortRules {
  CallerSettings callers;
  AskCaller ask = refuse_callers;
  std::chrono::milliseconds abandoned_after{30'000};  ///< HttpProxySettings::abandoned_after
  AllowList forwarded_networks;
  std::vector<std::string> forwarded_subjects;

  /// Whether X-Forwarded-* and Forwarded of a client are sent on. `subject` is that of its token; empty: none.
  bool trusts_forwarded_of(const boost::asio::ip::address& source, std::string_view subject) const;
};

/// Begins the exchange of a caller that may pass: the client gets an answer, or exchange.begin() an upstream, now or
/// later.
using OpenExchange = std::function<void(ProxyClient& client, ClientExchange& exchange, Caller caller)>;

/// Shared by all connections of one port that speaks HTTP, on every worker.
struct HttpPortContext {
  HttpPortContext(const TunnelDirectory& tunnels, Log& program_log, http::Role its_role, ErrorFormat its_errors,
                  OpenExchange its_open)
      : directory(tunnels), log(program_log), role(its_role), errors(its_errors), open(std::move(its_open)) {}

  const TunnelDirectory& directory;
  Log& log;
  const http::Role role;
  const ErrorFormat errors;
  const OpenExchange open;
  /// Whether a request shows the caller's token as to a server, in Authorization, and not as to a proxy. Empty: none.
  std::function<bool(const http::RequestHead& head)> is_for_server;
  Snapshot<http::HeadLimits> head_limits{std::make_shared<const http::HeadLimits>()};  ///< Of requests.
  Snapshot<HttpPortRules> rules{std::make_shared<const HttpPortRules>()};
};

/// The fixed destination of all requests of a connection: inside a CONNECT to an HTTP mapping, and on a port for one
/// virtual host.
struct FixedHost {
  Endpoint authority;
  Route route;
};

/// Serves a port that speaks HTTP: each request is sent where `context` opens it.
ClientPort::Serve serve_http(std::shared_ptr<const HttpPortContext> context);
/// Serves a port that speaks HTTP for one virtual host: each request is sent to that host, with its name as Host.
ClientPort::Serve serve_http_host(std::shared_ptr<const HttpPortContext> context, FixedHost host);

/// Reads the caller's credentials and location from a request, as `callers` configures it. The views in the result are
/// into `fields` and `proxy_authorization`. Errors: a response to send to the client.
std::expected<CallerQuestion, ProxyError> question_of(const http::Fields& fields, std::string_view proxy_authorization,
                                                      const CallerSettings& callers,
                                                      const boost::asio::ip::address& source);
/// Returns the response for a caller that is not allowed.
ProxyError error_of_caller(CallerFlaw flaw);

}  // namespace culvert::server
