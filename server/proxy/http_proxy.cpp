// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/http_proxy.hpp"

#include <utility>

#include "common/http/connection_login.hpp"
#include "common/http/field_names.hpp"
#include "server/proxy/client_exchange.hpp"
#include "server/proxy/proxy_client.hpp"
#include "server/proxy/tunnel_upstream.hpp"

namespace culvert::server {

std::shared_ptr<HttpPortContext> http_proxy(const TunnelDirectory& directory, Log& log) {
  const auto open = [](ProxyClient& client, ClientExchange& exchange, Caller caller) {
    if (!caller.may_reach(exchange.head().authority)) return client.answer(error_of(protocol::Reason::not_exposed));
    send_to_agent(client, exchange, std::move(caller.route));
  };
  return std::make_shared<HttpPortContext>(directory, log, http::Role::proxy, ErrorFormat::problem, open);
}

std::shared_ptr<const HttpPortRules> http_proxy_rules(const HttpProxySettings& settings,
                                                      std::shared_ptr<TokenCheck> tokens, PasswordChecker& passwords) {
  auto ask = ask_by(rules_of(settings.callers, std::move(tokens)), passwords);
  return std::make_shared<const HttpPortRules>(HttpPortRules{.callers = settings.callers,
                                                             .ask = std::move(ask),
                                                             .abandoned_after = settings.abandoned_after,
                                                             .forwarded_networks = settings.forwarded_networks,
                                                             .forwarded_subjects = settings.forwarded_subjects});
}

void send_to_agent(ProxyClient& client, ClientExchange& exchange, Route route) {
  http::Fields& fields = exchange.head().fields;
  const bool trusts_forwarded = client.context().rules.get()->trusts_forwarded_of(client.source(), client.subject());
  http::erase_own_fields(fields, trusts_forwarded ? http::Forwarded::keep : http::Forwarded::erase);
  http::append_via(fields, exchange.course().request.version);
  http::append_member(fields, "X-Forwarded-For", client.source_text());
  // Our fields, and names that were replaced, make it longer.
  if (fields.bytes() > http::tunnel_head_limits.head_bytes_max)
    return client.answer(error_of(http::refusals::head_too_long));
  if (http::has_connection_login(fields)) client.begin_bonds();
  exchange.begin(std::make_unique<TunnelUpstream>(exchange.near_side(), exchange.head(), std::move(route)));
}

}  // namespace culvert::server
