// SPDX-License-Identifier: Apache-2.0
#include "agent/config/config.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "agent/config/mapping_reader.hpp"
#include "common/config/proxy_reader.hpp"
#include "common/config/settings_reader.hpp"
#include "common/config/toml_reader.hpp"

namespace culvert::agent {

namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t endpoint_port_usual = 443;
constexpr std::uint64_t tunnels_max = 8;

/// The servers that channels and mappings may name.
struct Servers {
  std::vector<Server> all;
  /// The server, if there is exactly one.
  const Server* single() const { return all.size() == 1 ? &all.front() : nullptr; }
  const Server* find(std::string_view name) const {
    const auto found = std::ranges::find(all, name, &Server::name);
    return found == all.end() ? nullptr : &*found;
  }
  std::string names() const {
    std::string text;
    for (const Server& server : all) text += (text.empty() ? "\"" : ", \"") + server.name + "\"";
    return text;
  }
};

void read_tunnels(const TomlTable& table, Server& server) {
  if (const auto max = table.number("tunnels_max", {1, tunnels_max}))
    server.tunnels_max = static_cast<std::uint32_t>(*max);
  server.tunnels_min = std::min(server.tunnels_min, server.tunnels_max);
  if (const auto min = table.number("tunnels_min", {1, tunnels_max}))
    server.tunnels_min = static_cast<std::uint32_t>(*min);
  if (server.tunnels_max < server.tunnels_min) {
    table.fault("tunnels_min", fmt::format("is {}, more than tunnels_max, which is {}; lower it or raise tunnels_max",
                                           server.tunnels_min, server.tunnels_max));
  }
  if (const auto far = table.duration("far_round_trip", std::chrono::milliseconds(1), std::chrono::seconds(10)))
    server.far_round_trip = *far;
  server.congestion_control = read_congestion_control(table);
}

/// Either an identity that renews itself, or three files that somebody else renews.
void read_identity(const TomlTable& table, Server& server) {
  const auto identity = table.path("identity");
  const auto token = table.path("join_token_file");
  if (!identity) {
    if (token) table.fault("join_token_file", "needs identity = \"…\", the directory for the certificate");
    server.credentials = read_credentials(table, "ca");
    return;
  }
  for (const char* key : {"certificate", "private_key", "ca"}) {
    if (table.has(key)) table.fault(key, "is in the directory that identity names; leave one of the two out");
  }
  server.identity = *identity;
  server.join_token_file = token.value_or("");
  server.credentials = identity_files(*identity);
}

Servers read_servers(const TomlTable& root) {
  Servers servers;
  const std::vector<TomlTable> tables = root.tables("server");
  if (tables.empty()) {
    root.fault("server", "is missing; add a [[server]] with address and identity, or certificate, private_key and ca");
  }
  for (const TomlTable& table : tables) {
    table.require({"address"});
    Server server;
    server.address =
        table.parsed("address", [](std::string_view text) { return parse_endpoint(text); }).value_or(Endpoint{});
    server.name = table.text("name").value_or(to_string(server.address));
    if (server.name.empty()) table.fault("name", "is empty; leave it out to have the address as the name");
    if (servers.find(server.name) != nullptr) {
      table.fault(table.has("name") ? "name" : "address",
                  fmt::format("another [[server]] has the name \"{}\" too; give each its own name", server.name));
    }
    server.server_name = table.parsed("server_name", parse_host).value_or(server.address.host);
    read_identity(table, server);
    read_tunnels(table, server);
    server.proxy = read_proxy(table);
    servers.all.push_back(std::move(server));
  }
  return servers;
}

/// The server that key `server` names, or the only one. "" after a fault.
std::string read_server_name(const TomlTable& table, const Servers& servers) {
  if (const auto name = table.text("server")) {
    if (servers.find(*name) == nullptr)
      table.fault("server", fmt::format("no [[server]] has the name \"{}\"; there is {}", *name, servers.names()));
    return *name;
  }
  if (const Server* server = servers.single(); server != nullptr) return server->name;
  if (!table.has("server") && !servers.all.empty())
    table.fault("server", fmt::format("is missing, and there is more than one to choose from: {}", servers.names()));
  return "";
}

struct ChannelEndpoint {
  Endpoint server;
  std::string service_id;
};

/// [protocol://]host[:port]/serviceId, as a ServiceMapping's status shows it.
Result<ChannelEndpoint> parse_channel_endpoint(std::string_view text) {
  constexpr std::string_view shape = "write [tcp://]host[:port]/serviceId";
  std::string_view rest = text;
  if (const std::size_t scheme = rest.find("://"); scheme != rest.npos) {
    const std::string_view protocol = rest.substr(0, scheme);
    if (protocol != "tcp" && protocol != "rfc")
      return fail("config.malformed", fmt::format("only tcp:// and rfc:// are supported; {}", shape));
    rest.remove_prefix(scheme + 3);
  }
  const std::size_t slash = rest.find('/');
  if (slash == rest.npos) return fail("config.malformed", fmt::format("the service id is missing; {}", shape));
  const std::string_view host = rest.substr(0, slash);
  const bool has_port = host.find(':', host.rfind(']') + 1) != host.npos;
  auto server = parse_endpoint(has_port ? std::string(host) : fmt::format("{}:{}", host, endpoint_port_usual));
  if (!server) return std::unexpected(server.error());
  auto service_id = parse_name(rest.substr(slash + 1));
  if (!service_id)
    return fail("config.malformed", fmt::format("the service id {}; {}", service_id.error().text, shape));
  return ChannelEndpoint{std::move(*server), std::move(*service_id)};
}

void find_endpoint(const TomlTable& table, const Servers& servers, const ChannelEndpoint& endpoint, Channel& channel) {
  channel.service_id = endpoint.service_id;
  std::vector<const Server*> candidates;
  for (const Server& server : servers.all) {
    if (server.address == endpoint.server) candidates.push_back(&server);
  }
  const std::string address = to_string(endpoint.server);
  if (candidates.empty()) {
    table.fault("endpoint", fmt::format("no [[server]] has the address {}; add\n"
                                        "  [[server]]\n"
                                        "  address = \"{}\"\n"
                                        "  certificate = \"agent.pem\"\n"
                                        "  private_key = \"agent.key\"\n"
                                        "  ca = \"server-ca.pem\"",
                                        address, address));
  } else if (table.has("server")) {
    channel.server = read_server_name(table, servers);
    const Server* named = servers.find(channel.server);
    if (named != nullptr && named->address != endpoint.server) {
      table.fault("server",
                  fmt::format("\"{}\" has the address {}, but endpoint says {}; leave one of the two keys out",
                              named->name, to_string(named->address), address));
    }
  } else if (candidates.size() > 1) {
    table.fault("endpoint",
                fmt::format("more than one [[server]] has the address {}; add server = \"…\" with the name of one "
                            "of them",
                            address));
  } else {
    channel.server = candidates.front()->name;
  }
}

std::vector<Channel> read_channels(const TomlTable& root, const Servers& servers,
                                   std::vector<PlacedListener>& listeners) {
  std::vector<Channel> channels;
  for (const TomlTable& table : root.tables("channel")) {
    Channel channel;
    channel.port = read_listen_settings(table);
    const auto service_id = table.parsed("service_id", parse_name);
    const auto endpoint = table.parsed("endpoint", parse_channel_endpoint);
    if (table.has("endpoint")) {
      if (table.has("service_id"))
        table.fault("service_id", "endpoint names the service already; leave one of the two out");
      if (endpoint) find_endpoint(table, servers, *endpoint, channel);
    } else {
      if (!table.has("service_id"))
        table.fault("", "needs service_id = \"…\", or endpoint = \"host[:port]/serviceId\"");
      channel.service_id = service_id.value_or("");
      channel.server = read_server_name(table, servers);
    }
    if (!table.boolean("enabled").value_or(true)) continue;
    listeners.push_back({channel.port.listen, table});
    channels.push_back(std::move(channel));
  }
  return channels;
}

bool overlap(const SystemMapping& left, const SystemMapping& right) {
  return left.server == right.server && left.virtual_host.host == right.virtual_host.host &&
         left.virtual_host.ports.low <= right.virtual_host.ports.high &&
         right.virtual_host.ports.low <= left.virtual_host.ports.high;
}

std::vector<SystemMapping> read_system_mappings(const TomlTable& root, const Servers& servers) {
  std::vector<SystemMapping> mappings;
  std::vector<std::string> places;
  for (const TomlTable& table : root.tables("system_mapping")) {
    SystemMapping mapping = read_system_mapping(table);
    mapping.server = read_server_name(table, servers);
    // One without a virtual host has a fault already.
    const auto earlier =
        std::ranges::find_if(mappings, [&](const SystemMapping& other) { return overlap(other, mapping); });
    if (earlier != mappings.end() && !mapping.virtual_host.host.empty()) {
      table.fault("virtual", fmt::format("{} is also exposed as {} ({}); remove one of the two",
                                         to_string(mapping.virtual_host), to_string(earlier->virtual_host),
                                         places[static_cast<std::size_t>(earlier - mappings.begin())]));
    }
    mappings.push_back(std::move(mapping));
    places.push_back(table.where("virtual"));
  }
  return mappings;
}

Config read_config(const TomlTable& root) {
  Config config;
  Servers servers = read_servers(root);
  config.metrics = read_metrics(root, std::nullopt);
  std::vector<PlacedListener> listeners;
  if (config.metrics.listen) listeners.push_back({*config.metrics.listen, root.table("metrics")});
  config.channels = read_channels(root, servers, listeners);
  check_listeners(listeners);
  config.system_mappings = read_system_mappings(root, servers);
  config.log = read_log(root);
  config.admin = read_admin(root);
  config.limits = read_limits(root);
  config.servers = std::move(servers.all);
  return config;
}

}  // namespace

CredentialFiles identity_files(const std::filesystem::path& directory) {
  const auto current = directory / "current";
  return {current / "certificate.pem", current / "key.pem", current / "authorities.pem"};
}

Result<Config> load_config(const ConfigSource& source) {
  return load_toml(source, read_config);
}

std::vector<std::filesystem::path> files_of(const Config& config) {
  std::vector<std::filesystem::path> files;
  const auto add = [&](const std::filesystem::path& file) {
    if (!file.empty()) files.push_back(file);
  };
  for (const Server& server : config.servers) {
    if (!server.identity.empty()) continue;  // The program itself replaces them.
    add(server.credentials.certificate);
    add(server.credentials.private_key);
    add(server.credentials.ca);
  }
  for (const SystemMapping& mapping : config.system_mappings) {
    add(mapping.backend_ca);
    add(mapping.client_certificate);
    add(mapping.client_key);
  }
  return files;
}

std::vector<std::string> config_keys() {
  TomlReader reader = TomlReader::describe();
  read_config(reader.root());
  return reader.known_keys();
}

}  // namespace culvert::agent
