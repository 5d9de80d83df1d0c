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
#include "common/config/settings.hpp"
#include "common/tls/secret_hash.hpp"
#include "server/config/caller_settings.hpp"
#include "server/config/gateway_settings.hpp"

namespace culvert::server {

/// Table [tunnel]: the port for agents. Keys listen, certificate, private_key, client_ca, trust_domain.
struct TunnelSettings {
  Endpoint listen{"0.0.0.0", 8042};
  CredentialFiles credentials;               ///< `ca` is key client_ca, which signs agents' certificates.
  std::string trust_domain;                  ///< The trust domain in the agents' SPIFFE ids.
  std::string congestion_control = "bbr";    ///< "" (in the file "system"): the system's default.
  std::uint32_t tunnels_per_agent_max = 64;  ///< Over all processes that use one certificate.
  std::string replica;                       ///< Name of this replica; "" if there is only one.
  std::vector<std::string> replicas;         ///< Names of all replicas.
  friend bool operator==(const TunnelSettings&, const TunnelSettings&) = default;
};

/// One [[service_mapping]]: the target of a service name of an account. account + service_id + each location is unique.
struct ServiceMapping {
  std::string account;
  std::string service_id;
  Endpoint internal_address;
  std::vector<std::string> locations{""};  ///< "" is the default location.
  /// Endpoints behind internal_address, if a cluster provides them: dialled in turn instead of it. Without any, streams
  /// are refused.
  std::optional<std::vector<Endpoint>> endpoints;
  friend bool operator==(const ServiceMapping&, const ServiceMapping&) = default;
};

/// One [[virtual_listener]]: a local port that leads to one virtual host of one account and location.
struct VirtualListener {
  ListenSettings port;
  std::string account;
  std::string location;
  Endpoint virtual_host;
  friend bool operator==(const VirtualListener&, const VirtualListener&) = default;
};

/// Table [http_proxy]: the port through which workloads reach virtual hosts (docs/contracts.md 2). Without it there is
/// no proxy.
struct HttpProxySettings {
  ListenSettings port{
      .listen = {"127.0.0.1", 20003}, .allow_from = {}, .connections_max = 10'000, .connections_per_source_max = 100};
  CallerSettings callers;
  /// A client that has closed its direction is gone if the response is silent for so long.
  std::chrono::milliseconds abandoned_after{30'000};
  /// Clients whose X-Forwarded-* and Forwarded are sent on: networks, and subjects of tokens.
  AllowList forwarded_networks;
  std::vector<std::string> forwarded_subjects;
  friend bool operator==(const HttpProxySettings&, const HttpProxySettings&) = default;
};

/// One [[socks5_proxy.consumer]]: a login with a password, and what it may reach.
struct Socks5Consumer {
  std::string name;  ///< Name for logs.
  std::string account;
  std::vector<std::string> locations{""};
  std::vector<Endpoint> virtual_hosts;
  SecretHash secret;
  friend bool operator==(const Socks5Consumer&, const Socks5Consumer&) = default;
};

/// Table [socks5_proxy]: the same for clients of SOCKS 5 (docs/contracts.md 3). Without it there is no proxy.
struct Socks5ProxySettings {
  ListenSettings port{
      .listen = {"127.0.0.1", 20004}, .allow_from = {}, .connections_max = 10'000, .connections_per_source_max = 100};
  /// Account that every client that can connect may use; "": each client must log in.
  std::string unauthenticated_account;
  std::vector<Socks5Consumer> consumers;
  bool takes_tokens = false;  ///< Accepts tokens of the HTTP proxy's issuers.
  friend bool operator==(const Socks5ProxySettings&, const Socks5ProxySettings&) = default;
};

/// Table [deny]: identities that are refused; their existing tunnels end within 5 s.
struct DenyList {
  /// Lower-case hex without colons and leading zeros, like `openssl x509 -serial` but in lower case.
  std::vector<std::string> certificate_serials;
  std::vector<std::string> agents;  ///< SPIFFE ids: spiffe://domain/account/a[/location/l]/agent/n.
  friend bool operator==(const DenyList&, const DenyList&) = default;
};

/// Table [kubernetes]: the cluster whose objects configure this server. Without it there is none.
struct KubernetesSettings {
  bool is_secure = true;  ///< https:// or, for loopback only, http://.
  Endpoint api_server;    ///< Key api_server = "https://host:port". Default: the pod's.
  std::filesystem::path ca;
  std::filesystem::path token_file;
  std::filesystem::path client_certificate;
  std::filesystem::path client_key;
  std::string name_space;     ///< Key namespace: namespace of the server's own objects. Default: the pod's.
  std::string identity;       ///< Unique among the replicas. Default: the host name, which is unique per pod.
  Endpoint external_address;  ///< The address that agents dial, for the status of ServiceMappings.
  std::string account;        ///< Account of ServiceMappings without subaccountId.
  /// Suffix of services' names: ".svc." and key cluster_domain.
  std::string service_suffix = ".svc.cluster.local";
  bool allow_address_targets = false;  ///< Whether internalAddress may be an IP address.
  bool endpoint_slices = false;        ///< Finds targets by Services and EndpointSlices, not by the cluster's DNS.
  /// Headless Service of the replicas; empty: there is only one replica.
  std::string replicas_service;
  friend bool operator==(const KubernetesSettings&, const KubernetesSettings&) = default;
};

/// Table [on_premise_services]: virtual hosts as Services of the cluster. Without it there are none.
struct OnPremiseSettings {
  /// Settings of each object's port; its number is one of `ports`.
  ListenSettings port{.listen = {"127.0.0.1", 20100}, .allow_from = {}, .connections_per_source_max = 100};
  PortRange ports{20100, 20499};        ///< Key listen = "0.0.0.0:20100-20499".
  std::vector<std::string> namespaces;  ///< Empty: all.
  std::vector<std::string> accounts;    ///< Accounts that an object may name; "*": any.
  friend bool operator==(const OnPremiseSettings&, const OnPremiseSettings&) = default;
};

/// Table [enrolment]: agents get their certificates from this server. Without it they bring their own.
struct EnrolmentSettings {
  /// PEM: the authority that signs, then others that agents must trust. Agents are trusted up to them.
  std::filesystem::path authority_certificate;
  std::filesystem::path authority_key;  ///< Empty: `issuer` signs.
  /// Key issuer = {name, kind, group}: cert-manager's, in the cluster.
  struct Issuer {
    std::string name;
    std::string kind = "Issuer";
    std::string group = "cert-manager.io";
    friend bool operator==(const Issuer&, const Issuer&) = default;
  };
  std::optional<Issuer> issuer;
  std::vector<Endpoint> addresses;  ///< What agents that join dial.
  std::string server_name;          ///< Name in the server's certificate; empty: the host of the address.
  std::chrono::seconds lifetime{std::chrono::days(30)};
  std::chrono::seconds join_token_lifetime{std::chrono::hours(1)};
  std::chrono::seconds renew_grace{std::chrono::days(30)};  ///< After the end of its certificate an agent may renew.
  bool required = false;                                    ///< Refuses certificates from elsewhere.
  std::filesystem::path state = "/var/lib/culvert-server";  ///< Without a cluster: where the agents are kept.
  friend bool operator==(const EnrolmentSettings&, const EnrolmentSettings&) = default;
};

struct Config {
  TunnelSettings tunnel;
  std::optional<EnrolmentSettings> enrolment;
  std::vector<ServiceMapping> service_mappings;
  std::vector<VirtualListener> virtual_listeners;
  std::optional<HttpProxySettings> http_proxy;
  std::optional<Socks5ProxySettings> socks5_proxy;
  std::optional<KubernetesSettings> kubernetes;
  std::optional<OnPremiseSettings> on_premise_services;
  std::optional<GatewaySettings> gateway;
  DenyList deny;
  LogSettings log;
  AdminSettings admin;
  MetricsSettings metrics;
  LimitSettings limits;
};

/// Reads and checks the file and its drop-ins (`<file>.d/*.toml`, in name order; their lists of tables add to the
/// file's, their values override its values). The error's text has all faults, one line each: "file:line: key: what,
/// and what to do"; a line that begins with a space continues the one before it. Codes: "config.unreadable",
/// "config.syntax", "config.invalid". Relative paths start at the directory of the file that names them. Checks only
/// that certificate files exist and are readable; TLS checks their content. May block: call it off the workers.
Result<Config> load_config(const ConfigSource& source);

/// The files that `config` names; when one changes, the configuration must be loaded again. May contain duplicates.
std::vector<std::filesystem::path> files_of(const Config& config);

/// Every key that load_config knows, dotted and sorted: "tunnel.listen".
std::vector<std::string> config_keys();

}  // namespace culvert::server
