// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/config_source.hpp"
#include "common/config/proxy_reader.hpp"
#include "common/config/settings.hpp"
#include "common/http/path.hpp"
#include "common/net/allow_list.hpp"
#include "common/tls/tls_context.hpp"
#include "protocol/messages.hpp"

namespace culvert::agent {

/// One [[server]].
struct Server {
  std::string name;         ///< Default: the address. Unique.
  Endpoint address;         ///< "tunnel.example.com:443"
  std::string server_name;  ///< Name in its certificate. Default: the host of `address`.
  CredentialFiles credentials;
  /// Key identity: the directory of a certificate that renews itself (IdentityDirectory), in place of the three files.
  std::filesystem::path identity;
  std::filesystem::path join_token_file;  ///< Without an identity yet, the agent joins with this token when it starts.
  std::uint32_t tunnels_min = 2;          ///< 1 to 8.
  std::uint32_t tunnels_max = 8;          ///< tunnels_min to 8.
  std::chrono::milliseconds far_round_trip{10};  ///< A server with a longer round trip gets tunnels_max at once.
  std::string congestion_control = "bbr";        ///< "" (in the file "system"): the system's default.
  std::optional<ProxySettings> proxy;
  friend bool operator==(const Server&, const Server&) = default;
};

/// One [[channel]]: a local port for a service name behind one server.
struct Channel {
  ListenSettings port;
  /// A Server's name. In the file: `server`, or the host and port of `endpoint`; default: the only server.
  std::string server;
  /// In the file: `service_id`, or the path of `endpoint` = "[protocol://]host[:port]/serviceId" (default port 443).
  std::string service_id;
  friend bool operator==(const Channel&, const Channel&) = default;
};

/// One [[system_mapping.resource]]: paths and methods that an HTTP mapping allows (docs/contracts.md 5).
struct Resource {
  std::string path;  ///< Canonical; begins with a slash.
  /// Also allows paths below it, by whole segments: /accounting does not allow /accounting-secret.
  bool sub_paths = true;
  std::vector<std::string> methods;  ///< Empty: all.
  bool enabled = true;
  /// Compares paths without ";…" and SAP's "(…)" of their segments, too. In the file: parameters = "ignore".
  bool ignores_parameters = false;
  bool upgrade = false;  ///< Allows WebSocket and other upgrades.
  friend bool operator==(const Resource&, const Resource&) = default;
};

/// In the file ldap and ldaps are other names for tcp and tcps. With http and https the agent checks each request.
enum class MappingProtocol : std::uint8_t { tcp, tcps, http, https };
constexpr bool is_http(MappingProtocol protocol) {
  return protocol == MappingProtocol::http || protocol == MappingProtocol::https;
}
constexpr bool has_tls(MappingProtocol protocol) {
  return protocol == MappingProtocol::tcps || protocol == MappingProtocol::https;
}

/// The kind of streams that a mapping with this protocol takes; it takes no other.
constexpr protocol::Open::Kind kind_of(MappingProtocol protocol) {
  return is_http(protocol) ? protocol::Open::Kind::http : protocol::Open::Kind::host;
}

/// Host in requests to the back end.
enum class HostHeader : std::uint8_t {
  outside,   ///< "virtual": the virtual host, which the consumer knows.
  internal,  ///< "internal": the internal host, which the agent dials; X-Forwarded-Host has the virtual one.
};

/// One [[system_mapping]]: an internal host that the cloud side may reach, and its virtual name.
struct SystemMapping {
  std::string server;  ///< A Server's name: its cloud side may use the mapping. Default: the only server.
  MappingProtocol protocol = MappingProtocol::tcp;
  EndpointRange virtual_host;   ///< Key virtual = "erp:443" or "erp:8000-8010"
  EndpointRange internal_host;  ///< Key internal, with as many ports
  AllowList addresses;          ///< Addresses that its name may resolve to; empty: any of other hosts.
  bool enabled = true;
  std::filesystem::path backend_ca;          ///< tcps: CA of the back end; empty: the system's store
  std::string backend_server_name;           ///< tcps: name in its certificate. Default: the internal host.
  std::filesystem::path client_certificate;  ///< tcps: optional, with client_key
  std::filesystem::path client_key;
  TlsVersion tls_minimum = TlsVersion::tls_1_2;  ///< tls_minimum = "1.2"
  bool tls_legacy = false;                       ///< Allow back ends without secure renegotiation.
  std::uint32_t connect_timeout_ms = 10'000;     ///< Key connect_timeout = "10s"
  std::uint32_t connections_max = 1024;
  bool check = true;  ///< Dial it once when it is loaded, and log whether it answers.
  // For http and https:
  HostHeader host_header = HostHeader::outside;                               ///< host_header = "virtual"
  http::EncodedSlash encoded_slash = http::EncodedSlash::refuse;              ///< encoded_slash = "refuse"
  http::EncodedBackslash encoded_backslash = http::EncodedBackslash::refuse;  ///< encoded_backslash = "refuse"
  bool strips_secure = true;                                                  ///< secure_cookies = "strip"
  std::chrono::milliseconds upgrade_idle_timeout{0};                          ///< 0: none
  std::vector<Resource> resources;                                            ///< [[system_mapping.resource]]
  std::chrono::milliseconds first_byte_timeout{std::chrono::minutes(2)};  ///< From the request to the response's head.
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

/// The files of an identity, as IdentityDirectory keeps them.
CredentialFiles identity_files(const std::filesystem::path& directory);

/// Like server::load_config(). If a channel's endpoint matches no [[server]], the error says what to add.
Result<Config> load_config(const ConfigSource& source);

/// Like server::files_of() and server::config_keys().
std::vector<std::filesystem::path> files_of(const Config& config);
std::vector<std::string> config_keys();

}  // namespace culvert::agent
