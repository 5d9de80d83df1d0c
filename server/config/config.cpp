// SPDX-License-Identifier: Apache-2.0
#include "server/config/config.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "common/config/toml_reader.hpp"
#include "protocol/limits.hpp"
#include "server/config/caller_reader.hpp"
#include "server/config/enrolment_reader.hpp"
#include "server/config/gateway_reader.hpp"
#include "server/config/kubernetes_reader.hpp"

namespace culvert::server {

namespace {

constexpr std::size_t serial_digits_max = 40;  // RFC 5280 4.1.2.2: at most 20 octets.

/// SPIFFE ID 2.1: a trust domain is in lower case, and compared byte by byte.
Result<std::string> parse_trust_domain(std::string_view text) {
  auto name = parse_name(text);
  if (!name) return name;
  if (std::ranges::any_of(*name, [](char c) { return c >= 'A' && c <= 'Z'; }))
    return fail("config.malformed", fmt::format("\"{}\": a trust domain is written in lower case", text));
  return name;
}

Result<std::string> parse_serial(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c == ':') continue;
    const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    if ((lower < '0' || lower > '9') && (lower < 'a' || lower > 'f')) {
      return fail("config.malformed",
                  "must be a serial number in hexadecimal, with or without colons, as openssl x509 -serial gives it");
    }
    digits += lower;
  }
  const std::size_t first = digits.find_first_not_of('0');
  if (first != std::string::npos) digits.erase(0, first);
  if (first == std::string::npos || digits.size() > serial_digits_max)
    return fail("config.malformed", "must be a serial number of 1 to 40 hexadecimal digits, not zero");
  return digits;
}

/// spiffe://domain/account/a[/location/l]/agent/n
Result<std::string> parse_agent_id(std::string_view text, std::string_view trust_domain) {
  const auto malformed = [&](std::string_view why) {
    return fail("config.malformed",
                fmt::format("{}; write spiffe://{}/account/…[/location/…]/agent/…", why, trust_domain));
  };
  std::string_view rest = text;
  const auto take = [&](std::string_view word) {
    if (!rest.starts_with(word)) return false;
    rest.remove_prefix(word.size());
    return true;
  };
  const auto take_name = [&] {
    const std::string_view name = rest.substr(0, rest.find('/'));
    rest.remove_prefix(name.size());
    return parse_name(name).has_value();
  };
  if (!take("spiffe://")) return malformed("not a SPIFFE id");
  if (!take(fmt::format("{}/", trust_domain)))
    return malformed("not of the trust domain that [tunnel] trust_domain names");
  if (!take("account/") || !take_name()) return malformed("no account");
  if (take("/location/") && !take_name()) return malformed("no location");
  if (!take("/agent/") || !take_name() || !rest.empty()) return malformed("no agent name at its end");
  return std::string(text);
}

void read_replicas(const TomlTable& table, TunnelSettings& tunnel) {
  tunnel.replica = table.parsed("replica", parse_name).value_or("");
  const auto replicas = table.parsed_list("replicas", parse_name);
  if (!replicas) return;
  tunnel.replicas = *replicas;
  if (tunnel.replicas.size() > protocol::replicas_max)
    table.fault("replicas",
                fmt::format("has more than {} names, the maximum that agents accept", protocol::replicas_max));
  if (std::ranges::find(tunnel.replicas, tunnel.replica) == tunnel.replicas.end())
    table.fault("replicas", "must contain the name of this server, key replica");
}

TunnelSettings read_tunnel(const TomlTable& root) {
  const TomlTable table = root.table("tunnel");
  TunnelSettings tunnel;
  table.require({"trust_domain"});
  const auto listen = table.parsed("listen", [](std::string_view text) { return parse_listen(text, "0.0.0.0"); });
  if (listen) tunnel.listen = *listen;
  tunnel.credentials = read_credentials(table, "client_ca", CaKey::optional);
  tunnel.trust_domain = table.parsed("trust_domain", parse_trust_domain).value_or("");
  tunnel.congestion_control = read_congestion_control(table);
  // An agent to a far server has eight, and as many more while it replaces them.
  if (const auto tunnels = table.number("tunnels_per_agent_max", {16, 65'536}))
    tunnel.tunnels_per_agent_max = static_cast<std::uint32_t>(*tunnels);
  read_replicas(table, tunnel);
  return tunnel;
}

std::vector<ServiceMapping> read_service_mappings(const TomlTable& root) {
  std::vector<ServiceMapping> mappings;
  std::map<std::tuple<std::string, std::string, std::string>, std::string> places;
  for (const TomlTable& table : root.tables("service_mapping")) {
    table.require({"account", "service_id", "internal_address"});
    const auto account = table.parsed("account", parse_name);
    const auto service_id = table.parsed("service_id", parse_name);
    const auto address = table.parsed("internal_address", [](std::string_view text) { return parse_endpoint(text); });
    const auto locations = table.parsed_list("locations", parse_location);
    if (locations && locations->empty())
      table.fault("locations", "is empty, so that no agent reaches the service; leave it out for the default location");

    ServiceMapping mapping{.account = account.value_or(""),
                           .service_id = service_id.value_or(""),
                           .internal_address = address.value_or(Endpoint{})};
    if (locations) mapping.locations = *locations;
    for (const std::string& location : mapping.locations) {
      if (!account || !service_id) break;
      const auto [earlier, is_new] = places.try_emplace({*account, *service_id, location}, table.where());
      if (is_new) continue;
      table.fault(
          "service_id",
          fmt::format(
              "account \"{}\" already has a mapping of \"{}\" at the location \"{}\" ({}); remove one of the two",
              *account, *service_id, location, earlier->second));
    }
    mappings.push_back(std::move(mapping));
  }
  return mappings;
}

std::vector<VirtualListener> read_virtual_listeners(const TomlTable& root, std::vector<PlacedListener>& listeners) {
  std::vector<VirtualListener> answer;
  for (const TomlTable& table : root.tables("virtual_listener")) {
    table.require({"account", "virtual_host"});
    VirtualListener listener;
    listener.port = read_listen_settings(table);
    listener.account = table.parsed("account", parse_name).value_or("");
    listener.location = table.parsed("location", parse_location).value_or("");
    const auto host = table.parsed("virtual_host", [](std::string_view text) { return parse_endpoint(text); });
    if (host) listener.virtual_host = *host;
    listeners.push_back({listener.port.listen, table});
    answer.push_back(std::move(listener));
  }
  return answer;
}

DenyList read_deny(const TomlTable& root, std::string_view trust_domain) {
  const TomlTable table = root.table("deny");
  DenyList deny;
  deny.certificate_serials =
      table.parsed_list("certificate_serials", parse_serial).value_or(std::vector<std::string>());
  const auto parse = [&](std::string_view text) {
    // If the trust domain itself is wrong, only that is reported.
    return trust_domain.empty() ? Result<std::string>(text) : parse_agent_id(text, trust_domain);
  };
  deny.agents = table.parsed_list("agents", parse).value_or(std::vector<std::string>());
  return deny;
}

Config read_config(const TomlTable& root) {
  Config config;
  config.tunnel = read_tunnel(root);
  config.metrics = read_metrics(root, Endpoint{"127.0.0.1", 9494});
  std::vector<PlacedListener> listeners{{config.tunnel.listen, root.table("tunnel")}};
  if (config.metrics.listen) listeners.push_back({*config.metrics.listen, root.table("metrics")});
  config.service_mappings = read_service_mappings(root);
  config.virtual_listeners = read_virtual_listeners(root, listeners);
  config.http_proxy = read_http_proxy(root, listeners);
  config.socks5_proxy = read_socks5_proxy(root, listeners);
  config.gateway = read_gateway(root, listeners);
  check_listeners(listeners);
  config.kubernetes = read_kubernetes(root);
  config.enrolment = read_enrolment(root, config.tunnel, config.kubernetes);
  if (!config.enrolment) root.table("tunnel").require({"client_ca"});
  config.on_premise_services = read_on_premise_services(root, config.kubernetes, listeners);
  check_destination_ports(root, config, listeners);
  config.deny = read_deny(root, config.tunnel.trust_domain);
  config.log = read_log(root);
  config.admin = read_admin(root);
  config.limits = read_limits(root);
  return config;
}

void add_files_of(const GatewaySettings& gateway, std::vector<std::filesystem::path>& files) {
  const auto add = [&files](const std::filesystem::path& file) {
    if (!file.empty()) files.push_back(file);
  };
  add(gateway.ca);
  if (gateway.proxy) add(gateway.proxy->password_file);
  for (const IssuerSettings& issuer : gateway.callers.issuers) {
    add(issuer.jwks_file);
    add(issuer.ca);
  }
  if (!gateway.definitions.empty()) files.push_back(gateway.definitions / "");
  for (const ApplicationSettings& application : gateway.applications) {
    for (const ApiSettings& api : application.apis) {
      add(api.parameters_file);
      add(api.credentials.secret_file);
      add(api.credentials.certificate);
      add(api.credentials.private_key);
    }
  }
}

}  // namespace

Result<Config> load_config(const ConfigSource& source) {
  return load_toml(source, read_config);
}

std::vector<std::filesystem::path> files_of(const Config& config) {
  const CredentialFiles& credentials = config.tunnel.credentials;
  std::vector<std::filesystem::path> files{credentials.certificate, credentials.private_key};
  if (!credentials.ca.empty()) files.push_back(credentials.ca);
  if (config.enrolment) {
    files.push_back(config.enrolment->authority_certificate);
    if (!config.enrolment->authority_key.empty()) files.push_back(config.enrolment->authority_key);
  }
  if (config.kubernetes) {
    // Without the token: it rotates every hour, and is read again for each use.
    for (const auto& file :
         {config.kubernetes->ca, config.kubernetes->client_certificate, config.kubernetes->client_key}) {
      if (!file.empty()) files.push_back(file);
    }
  }
  if (config.gateway) add_files_of(*config.gateway, files);
  if (!config.http_proxy) return files;
  for (const IssuerSettings& issuer : config.http_proxy->callers.issuers) {
    for (const auto& file : {issuer.jwks_file, issuer.ca}) {
      if (!file.empty()) files.push_back(file);
    }
  }
  return files;
}

std::vector<std::string> config_keys() {
  TomlReader reader = TomlReader::describe();
  read_config(reader.root());
  return reader.known_keys();
}

}  // namespace culvert::server
