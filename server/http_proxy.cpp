// SPDX-License-Identifier: Apache-2.0
#include "server/http_proxy.hpp"

#include <chrono>
#include <utility>

#include "common/config/settings_reader.hpp"
#include "server/proxy_door.hpp"

namespace culvert::server {

namespace {

constexpr std::string_view location_field = "SAP-Connectivity-SCC-Location_ID";
constexpr std::string_view account_field = "SAP-Connectivity-ConsumerAccount";
constexpr std::string_view service_token_field = "SAP-CP-Connectivity-Service-Token";

/// The location that the request names; the default one where it names none.
std::expected<std::string, ProxyError> location_of(const http::Fields& fields) {
  const auto named = fields.find(location_field);
  if (!named) return std::string();
  auto location = parse_location(*named);
  if (location && fields.count(location_field) == 1) return std::move(*location);
  return std::unexpected(ProxyError{400,
                                    "request.bad_location",
                                    "http_request_error",
                                    "the location's name has characters that none has",
                                    "mend the field SAP-Connectivity-SCC-Location_ID",
                                    {},
                                    false});
}

/// The account that a trusted caller names, by itself or by a token that nobody verifies.
std::expected<std::string, ProxyError> named_account(const http::Fields& fields, const CallerSettings& callers) {
  const bool by_token = callers.account_from == CallerSettings::Account::service_token;
  const std::string_view field = by_token ? service_token_field : account_field;
  const std::string value(fields.find(field).value_or(""));
  if (fields.count(field) == 1 && !by_token) {
    if (auto account = parse_name(value)) return std::move(*account);
  }
  if (fields.count(field) == 1 && by_token) {
    const auto token = parse_token(bearer_token(value).value_or(value));
    if (!token) return std::unexpected(error_of(*token.error()));
    if (auto account = account_in(token->claims, callers.account_claim)) return std::move(*account);
  }
  return std::unexpected(ProxyError{400,
                                    "request.no_account",
                                    "http_request_error",
                                    "the request does not say of which account it is, or not clearly",
                                    "send once the field that account_from of [http_proxy] names, with an account",
                                    {},
                                    false});
}

std::expected<std::string, ProxyError> account_of(const http::Fields& fields, std::string_view proxy_authorization,
                                                  const HttpProxyRules& rules, std::size_t worker) {
  const CallerSettings& callers = rules.settings.callers;
  if (!rules.tokens && callers.account_from == CallerSettings::Account::fixed) return callers.account;
  if (!rules.tokens) return named_account(fields, callers);
  // From here on the account comes from nowhere but the token.
  const auto token = bearer_token(proxy_authorization);
  if (!token) return std::unexpected(error_of(*token.error()));
  auto account = rules.tokens->account_of(*token, worker, std::chrono::system_clock::now());
  if (!account) return std::unexpected(error_of(*account.error()));
  return std::move(*account);
}

}  // namespace

/// Outlives the proxy as long as a connection of it does.
struct HttpProxy::Shared {
  Shared(DataPlanes& planes, const TunnelDirectory& directory, Log& log, HttpProxyRules first)
      : rules(std::make_shared<const HttpProxyRules>(std::move(first))),
        around{planes, directory, log,
               [this](const http::RequestHead& head, std::string_view proxy_authorization, std::size_t worker) {
                 return admit(head.fields, proxy_authorization, worker);
               }} {}

  std::expected<ProxyRoute, ProxyError> admit(const http::Fields& fields, std::string_view proxy_authorization,
                                              std::size_t worker) const {
    const auto now = rules.get();
    auto account = account_of(fields, proxy_authorization, *now, worker);
    if (!account) return std::unexpected(account.error());
    auto location = location_of(fields);
    if (!location) return std::unexpected(location.error());
    return ProxyRoute{std::move(*account), std::move(*location)};
  }

  Snapshot<HttpProxyRules> rules;
  ProxySurroundings around;
  std::shared_ptr<Quota> connections = std::make_shared<Quota>();
};

HttpProxy::HttpProxy(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

HttpProxy::~HttpProxy() = default;

Result<std::unique_ptr<HttpProxy>> HttpProxy::open(DataPlanes& planes, const TunnelDirectory& directory, Log& log,
                                                   HttpProxyRules rules) {
  const Endpoint listen = rules.settings.port.listen;
  auto shared = std::make_shared<Shared>(planes, directory, log, std::move(rules));
  auto listener = open_door(listen, {.name = "http_proxy",
                                     .around = std::shared_ptr<const ProxySurroundings>(shared, &shared->around),
                                     .connections = shared->connections,
                                     .rules = [shared]() -> ProxyDoor::Rules {
                                       return {shared->rules.get()->settings.port.connections_max, std::nullopt};
                                     },
                                     .allows =
                                         [shared](const boost::asio::ip::address& source) {
                                           return shared->rules.get()->settings.port.allow_from.allows(source);
                                         }});
  if (!listener) return std::unexpected(listener.error());
  std::unique_ptr<HttpProxy> proxy(new HttpProxy(std::move(shared)));
  proxy->listener_ = std::move(*listener);
  return proxy;
}

void HttpProxy::change(HttpProxyRules rules) {
  shared_->rules.publish(std::make_shared<const HttpProxyRules>(std::move(rules)));
}

HttpProxySettings HttpProxy::settings() const {
  return shared_->rules.get()->settings;
}

std::uint32_t HttpProxy::connections() const {
  return shared_->connections->taken();
}

}  // namespace culvert::server
