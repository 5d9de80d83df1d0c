// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/http_port.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/config/settings_reader.hpp"
#include "server/proxy/client_exchange.hpp"
#include "server/proxy/proxy_client.hpp"

namespace culvert::server {

namespace {

constexpr std::string_view location_field = "SAP-Connectivity-SCC-Location_ID";

ClientPort::Serve serve(std::shared_ptr<const HttpPortContext> context, std::optional<FixedHost> inside) {
  return [context = std::move(context), inside = std::move(inside)](DataPlane& plane, Client client) {
    ProxyClient::start(plane, {.context = context,
                               .socket = std::move(client.socket),
                               .read_ahead = {},
                               .source = client.peer.address(),
                               .connection = std::move(client.connection),
                               .clients = std::move(client.clients),
                               .inside = inside,
                               .exchange = {}});
  };
}

/// Returns the location that the request names, or the default one.
std::expected<std::string, ProxyError> location_of(const http::Fields& fields) {
  const auto named = fields.find(location_field);
  if (!named) return std::string();
  auto location = parse_location(*named);
  if (location && fields.count(location_field) == 1) return std::move(*location);
  return std::unexpected(ProxyError{400,
                                    "request.bad_location",
                                    "http_request_error",
                                    "the location name contains invalid characters",
                                    "fix the field SAP-Connectivity-SCC-Location_ID",
                                    {},
                                    false});
}

}  // namespace

bool HttpPortRules::trusts_forwarded_of(const boost::asio::ip::address& source, std::string_view subject) const {
  // An empty list of networks would allow loopback.
  return (!forwarded_networks.empty() && forwarded_networks.allows(source)) ||
         (!subject.empty() && std::ranges::find(forwarded_subjects, subject) != forwarded_subjects.end());
}

ClientPort::Serve serve_http(std::shared_ptr<const HttpPortContext> context) {
  return serve(std::move(context), std::nullopt);
}

ClientPort::Serve serve_http_host(std::shared_ptr<const HttpPortContext> context, FixedHost host) {
  return serve(std::move(context), std::move(host));
}

std::expected<CallerQuestion, ProxyError> question_of(const http::Fields& fields, std::string_view proxy_authorization,
                                                      const CallerSettings& callers,
                                                      const boost::asio::ip::address& source) {
  auto credentials = credentials_of(fields, proxy_authorization, callers);
  if (!credentials) return std::unexpected(error_of_caller(credentials.error()));
  auto location = location_of(fields);
  if (!location) return std::unexpected(location.error());
  return CallerQuestion{*credentials, std::move(*location), source};
}

ProxyError error_of_caller(CallerFlaw flaw) {
  if (flaw == &caller_refusals::no_account)
    return {400, flaw->code, "http_request_error", flaw->text, flaw->hint, {}, false};
  return error_of(flaw != nullptr ? *flaw : token_refusals::missing);
}

}  // namespace culvert::server
