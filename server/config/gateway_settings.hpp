// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/config/proxy_reader.hpp"
#include "common/config/settings.hpp"
#include "server/config/caller_settings.hpp"
#include "server/targets/target_description.hpp"

// External systems: what the gateway's ports lead to (docs/external-systems.md).

namespace culvert::server {

/// How a target is logged in to.
struct CredentialSettings {
  LoginType type = LoginType::none;
  std::string user;                   ///< basic: the name; oauth…: the client's id
  std::filesystem::path secret_file;  ///< basic: the password; oauth: the client's secret
  std::string token_url;
  bool in_form = false;  ///< oauth: the secret goes in the form, not as Basic.
  std::string scope;
  std::filesystem::path certificate;
  std::filesystem::path private_key;
  friend bool operator==(const CredentialSettings&, const CredentialSettings&) = default;
};

/// One [[application.api]]: an entry of a service, and where it leads.
struct ApiSettings {
  std::string service;  ///< Its display name.
  std::string entry;    ///< Its name; by default the service's.
  std::string url;
  /// Not empty: through an agent of this account, with the virtual host of `url`.
  std::string account;
  std::string location;
  CredentialSettings credentials;
  std::string csrf_url;
  std::filesystem::path parameters_file;
  bool skip_verify = false;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds first_byte_timeout{120'000};
  std::chrono::milliseconds idle_timeout{300'000};
  friend bool operator==(const ApiSettings&, const ApiSettings&) = default;
};

struct ApplicationSettings {
  std::string name;
  std::vector<ApiSettings> apis;
  friend bool operator==(const ApplicationSettings&, const ApplicationSettings&) = default;
};

/// Table [gateway]. Without it there is no gateway.
struct GatewaySettings {
  /// The port for /APPLICATION/SERVICE/path. Its limits apply to the other ports, too.
  ListenSettings port{
      .listen = {"127.0.0.1", 8080}, .allow_from = {}, .connections_max = 10'000, .connections_per_source_max = 0};
  std::optional<Endpoint> entries = Endpoint{"127.0.0.1", 8082};  ///< /APPLICATION/SERVICE/ENTRY/path
  std::optional<Endpoint> health = Endpoint{"127.0.0.1", 8081};   ///< /v1/health
  std::chrono::milliseconds abandoned_after{30'000};              ///< HttpProxySettings::abandoned_after
  /// Addresses of private networks, of this host and its links that targets may have; others are reached always.
  AllowList targets;
  std::optional<ProxySettings> proxy;  ///< On the way to targets in the internet.
  std::filesystem::path ca;            ///< In addition to the system's store.
  /// The port for destinations, which X-Destination-Name chooses; nothing: none.
  std::optional<Endpoint> destinations;
  std::filesystem::path definitions;  ///< Key destinations: a directory with a definition in each file.
  std::string account;                ///< Whose agents reach on-premise destinations.
  /// Ports for the cluster's Destinations, with the address to listen at; nothing: the objects are not followed.
  std::optional<EndpointRange> destination_ports;
  CallerSettings callers;
  bool allow_skip_verify = false;
  bool compatible_errors = false;  ///< A target's 5xx becomes 502.
  std::vector<ApplicationSettings> applications;
  friend bool operator==(const GatewaySettings&, const GatewaySettings&) = default;
};

}  // namespace culvert::server
