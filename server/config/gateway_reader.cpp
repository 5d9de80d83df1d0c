// SPDX-License-Identifier: Apache-2.0
#include "server/config/gateway_reader.hpp"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "server/config/caller_reader.hpp"
#include "server/config/kubernetes_reader.hpp"
#include "server/targets/target_url.hpp"

namespace culvert::server {

namespace {

using namespace std::chrono_literals;
using Type = LoginType;

constexpr std::size_t name_bytes_max = 253;

Result<std::string> parse_shown_name(std::string_view text) {
  if (!text.empty() && text.size() <= name_bytes_max) return std::string(text);
  return fail("config.malformed", fmt::format("must have 1 to {} bytes", name_bytes_max));
}

Result<std::string> parse_url(std::string_view text) {
  auto url = parse_target_url(text);
  if (!url) return std::unexpected(url.error());
  return std::string(text);
}

/// The keys that each type needs, and those that it may have.
struct TypeKeys {
  Type type = Type::none;
  std::initializer_list<std::string_view> required;
  std::initializer_list<std::string_view> possible;
};
const TypeKeys keys_of_types[] = {
    {Type::basic, {"username", "password_file"}, {}},
    {Type::oauth, {"token_url", "client_id", "client_secret_file"}, {"client_in", "scope"}},
    {Type::oauth_with_certificate, {"token_url", "client_id", "certificate", "private_key"}, {"scope"}},
    {Type::certificate, {"certificate", "private_key"}, {}},
};

void check_keys(const TomlTable& table, Type type) {
  for (const TypeKeys& row : keys_of_types) {
    if (row.type != type) continue;
    table.require(row.required);
    for (const std::string_view key : {"username", "password_file", "token_url", "client_id", "client_secret_file",
                                       "client_in", "scope", "certificate", "private_key"}) {
      const auto has = [key](const auto& list) { return std::ranges::find(list, key) != list.end(); };
      if (table.has(key) && !has(row.required) && !has(row.possible))
        table.fault(key, "is not for this type of credentials; leave it out or change the type");
    }
  }
}

CredentialSettings read_credentials_of_target(const TomlTable& api) {
  const TomlTable table = api.table("credentials");
  CredentialSettings credentials;
  const auto type = table.word<Type>("type", {{"Basic", Type::basic},
                                              {"OAuth", Type::oauth},
                                              {"OAuthWithCert", Type::oauth_with_certificate},
                                              {"CertificateGen", Type::certificate}});
  const auto user = table.parsed("username", parse_shown_name);
  const auto client = table.parsed("client_id", parse_shown_name);
  credentials.user = user ? *user : client.value_or("");
  const auto password = read_secret_path(table, "password_file");
  const auto secret = read_secret_path(table, "client_secret_file");
  credentials.secret_file = password.empty() ? secret : password;
  credentials.token_url = table.parsed("token_url", parse_url).value_or("");
  credentials.in_form = table.word<bool>("client_in", {{"header", false}, {"form", true}}).value_or(false);
  credentials.scope = table.parsed("scope", parse_shown_name).value_or("");
  credentials.certificate = read_file_path(table, "certificate");
  credentials.private_key = read_secret_path(table, "private_key");
  if (!api.has("credentials")) return credentials;
  table.require({"type"});
  if (!type) return credentials;
  credentials.type = *type;
  check_keys(table, *type);
  return credentials;
}

void check_way(const TomlTable& table, const ApiSettings& api, bool allows_skip_verify) {
  if (api.skip_verify && !allows_skip_verify)
    table.fault("skip_verify",
                "needs allow_skip_verify = true of [gateway]: whoever is on the way can read and change "
                "what is sent; better name the target's authority with ca of [gateway]");
  if (api.account.empty() && table.has("location"))
    table.fault("location", "is for a target behind an agent: add account");
  if (api.account.empty()) return;
  if (api.url.starts_with("https"))
    table.fault("url", "names a virtual host, which is always http://; the agent adds TLS");
  if (api.credentials.type == Type::certificate)
    table.fault("credentials", "have a certificate, which only the agent could show: set client_certificate there");
  if (table.has("csrf_url"))
    table.fault("csrf_url", "is not possible behind an agent; the client must fetch the token");
  if (table.has("skip_verify")) table.fault("skip_verify", "is for the internet; the agent has its own rules");
}

ApiSettings read_api(const TomlTable& table, bool allows_skip_verify) {
  table.require({"service", "url"});
  ApiSettings api;
  api.service = table.parsed("service", parse_shown_name).value_or("");
  api.entry = table.parsed("entry", parse_shown_name).value_or(api.service);
  api.url = table.parsed("url", parse_url).value_or("");
  api.account = table.parsed("account", parse_name).value_or("");
  api.location = table.parsed("location", parse_location).value_or("");
  api.credentials = read_credentials_of_target(table);
  api.csrf_url = table.parsed("csrf_url", parse_url).value_or("");
  api.parameters_file = read_secret_path(table, "request_parameters_file");
  api.skip_verify = table.boolean("skip_verify").value_or(false);
  api.connect_timeout = table.duration("connect_timeout", 100ms, 5min).value_or(api.connect_timeout);
  api.first_byte_timeout = table.duration("first_byte_timeout", 100ms, 24h).value_or(api.first_byte_timeout);
  api.idle_timeout = table.duration("idle_timeout", 1s, 24h).value_or(api.idle_timeout);
  check_way(table, api, allows_skip_verify);
  return api;
}

std::vector<ApplicationSettings> read_applications(const TomlTable& root, bool allows_skip_verify) {
  std::vector<ApplicationSettings> applications;
  std::map<std::string, std::string> places;
  for (const TomlTable& table : root.tables("application")) {
    table.require({"name", "api"});
    ApplicationSettings application;
    application.name = table.parsed("name", parse_name).value_or("");
    const auto [earlier, is_new] = places.try_emplace(application.name, table.where());
    if (!is_new) table.fault("name", fmt::format("is taken already ({}); choose another", earlier->second));
    for (const TomlTable& api : table.tables("api")) application.apis.push_back(read_api(api, allows_skip_verify));
    applications.push_back(std::move(application));
  }
  return applications;
}

/// "off", or an address.
void read_other_port(const TomlTable& table, std::string_view key, std::optional<Endpoint>& port) {
  const auto read = table.parsed(key, [](std::string_view text) -> Result<std::optional<Endpoint>> {
    if (text == "off") return std::optional<Endpoint>();
    return parse_listen(text, "127.0.0.1");
  });
  if (read) port = *read;
}

}  // namespace

std::optional<GatewaySettings> read_gateway(const TomlTable& root, std::vector<PlacedListener>& listeners) {
  const TomlTable table = root.table("gateway");
  GatewaySettings gateway;
  const GatewayCallers callers = read_gateway_callers(table);
  gateway.callers = callers.settings;
  gateway.port = read_listen_settings(table, {.usual = gateway.port, .is_guarded = callers.are_guarded});
  read_other_port(table, "listen_entries", gateway.entries);
  read_other_port(table, "listen_health", gateway.health);
  read_other_port(table, "listen_destinations", gateway.destinations);
  for (const auto& listen : {gateway.entries, gateway.destinations}) {
    if (listen && !callers.are_guarded) require_allow_from(table, *listen, gateway.port.allow_from);
  }
  gateway.definitions = table.path("destinations").value_or("");
  gateway.account = table.parsed("account", parse_name).value_or("");
  gateway.destination_ports = table.parsed("destination_ports", parse_ports_to_listen);
  if (gateway.destination_ports && !callers.are_guarded)
    require_allow_from(table, {gateway.destination_ports->host, gateway.destination_ports->ports.low},
                       gateway.port.allow_from);
  if (table.has("listen_destinations") && gateway.destinations && gateway.definitions.empty())
    table.fault("listen_destinations", "needs destinations, the directory with the definitions");
  gateway.abandoned_after = table.duration("abandoned_after", 1s, 24h).value_or(gateway.abandoned_after);
  gateway.targets = read_networks(table, "allow_targets");
  gateway.proxy = read_proxy(table);
  gateway.ca = read_file_path(table, "ca");
  gateway.allow_skip_verify = table.boolean("allow_skip_verify").value_or(false);
  gateway.compatible_errors = table.boolean("compatible_errors").value_or(false);
  gateway.applications = read_applications(root, gateway.allow_skip_verify);
  if (!root.has("gateway")) {
    if (root.has("application")) root.fault("application", "needs the table [gateway], which has the ports for it");
    return std::nullopt;
  }
  listeners.push_back({gateway.port.listen, table});
  if (gateway.entries) listeners.push_back({*gateway.entries, table});
  if (gateway.destinations) listeners.push_back({*gateway.destinations, table});
  if (gateway.health) listeners.push_back({*gateway.health, table});
  return gateway;
}

}  // namespace culvert::server
