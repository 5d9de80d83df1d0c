// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "agent/http_rules.hpp"
#include "common/base/error.hpp"
#include "common/config/config_source.hpp"
#include "common/config/settings.hpp"
#include "common/net/allow_list.hpp"

namespace culvert::agent {

/// Keys proxy_… of a [[server]]: an HTTP CONNECT proxy in front of the internet.
struct ProxySettings {
  Endpoint address;                     ///< proxy = "http://host:port"
  std::string user;                     ///< proxy_user; empty: no authentication
  std::filesystem::path password_file;  ///< proxy_password_file: Basic, read at each dial so that it may rotate
  std::vector<std::string> no_proxy;    ///< hosts, ".suffix"es and CIDRs that are dialled directly
  friend bool operator==(const ProxySettings&, const ProxySettings&) = default;
};

/// One [[server]].
struct Server {
  std::string name;         ///< Default: the address. Unique.
  Endpoint address;         ///< "tunnel.example.com:443"
  std::string server_name;  ///< What its certificate must say. Default: the host of `address`.
  CredentialFiles credentials;
  std::uint32_t tunnels_min = 2;                 ///< 1 to 8.
  std::uint32_t tunnels_max = 8;                 ///< tunnels_min to 8.
  std::chrono::milliseconds far_round_trip{10};  ///< A server farther away gets tunnels_max from the start.
  std::string congestion_control = "bbr";        ///< "" = as the system has it; in the file "system".
  std::optional<ProxySettings> proxy;
  friend bool operator==(const Server&, const Server&) = default;
};

/// One [[channel]]: a local port that leads to a virtual service name behind one server.
struct Channel {
  ListenSettings port;
  std::string server;      ///< A Server's name. In the file: `server`, or the host and port of `endpoint`, or the only
                           ///< server there is.
  std::string service_id;  ///< In the file: `service_id`, or the path of `endpoint` =
                           ///< "[protocol://]host[:port]/serviceId" (default port 443).
  friend bool operator==(const Channel&, const Channel&) = default;
};

/// ldap and ldaps are tcp and tcps under the name that people know. With http and https the agent sees each request.
enum class MappingProtocol : std::uint8_t { tcp, tcps, http, https };
constexpr bool is_http(MappingProtocol protocol) {
  return protocol == MappingProtocol::http || protocol == MappingProtocol::https;
}
constexpr bool has_tls(MappingProtocol protocol) {
  return protocol == MappingProtocol::tcps || protocol == MappingProtocol::https;
}

/// What Host says to the back end.
enum class HostHeader : std::uint8_t {
  outside,   ///< "virtual": as the consumer knows it.
  internal,  ///< "internal": as the agent dials it; X-Forwarded-Host has the virtual one.
};

/// One [[system_mapping]]: what the cloud side may reach, and as what.
struct SystemMapping {
  std::string server;  ///< Whose cloud side may. A Server's name; may be left out where there is one.
  MappingProtocol protocol = MappingProtocol::tcp;
  EndpointRange virtual_host;   ///< Key virtual = "erp:443" or "erp:8000-8010"
  EndpointRange internal_host;  ///< Key internal, with as many ports
  AllowList addresses;          ///< Where its name may lead; empty: to any other host.
  bool enabled = true;
  std::filesystem::path backend_ca;          ///< tcps: CA of the back end; empty: the system's store
  std::string backend_server_name;           ///< tcps: what its certificate must say. Default: the internal host.
  std::filesystem::path client_certificate;  ///< tcps: optional, with client_key
  std::filesystem::path client_key;
  std::uint32_t connect_timeout_ms = 10'000;  ///< Key connect_timeout = "10s"
  std::uint32_t connections_max = 1024;
  bool check = true;  ///< Dialled once when it is loaded, to tell whether it answers.
  // Of http and https.
  HostHeader host_header = HostHeader::outside;                           ///< host_header = "virtual"
  http::EncodedSlash encoded_slash = http::EncodedSlash::refuse;          ///< encoded_slash = "refuse"
  std::vector<Resource> resources;                                        ///< [[system_mapping.resource]]
  std::chrono::milliseconds first_byte_timeout{std::chrono::minutes(2)};  ///< From the request to its response's head.
  std::chrono::milliseconds idle_timeout{std::chrono::minutes(5)};        ///< Without a byte of the response.
  friend bool operator==(const SystemMapping&, const SystemMapping&) = default;
};

struct Config {
  std::vector<Server> servers;
  std::vector<Channel> channels;
  std::vector<SystemMapping> system_mappings;
  LogSettings log;
  AdminSettings admin;
  MetricsSettings metrics;
  LimitSettings limits;
};

/// As server::load_config. A channel whose endpoint matches no [[server]] is an error that says what to add.
Result<Config> load_config(const ConfigSource& source);

/// As server::files_of and server::config_keys.
std::vector<std::filesystem::path> files_of(const Config& config);
std::vector<std::string> config_keys();

}  // namespace culvert::agent
