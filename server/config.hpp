// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/config_source.hpp"
#include "common/config/settings.hpp"
#include "common/tls/secret_hash.hpp"

namespace culvert::server {

/// Table [tunnel]: where agents dial in. Keys listen, certificate, private_key, client_ca, trust_domain.
struct TunnelSettings {
  Endpoint listen{"0.0.0.0", 8042};
  CredentialFiles credentials;             ///< `ca` is key client_ca: it signs agents.
  std::string trust_domain;                ///< Of the agents' SPIFFE ids.
  std::string congestion_control = "bbr";  ///< "" = as the system has it; in the file "system".
  std::string replica;                     ///< This process among its replicas; "": it is the only one.
  std::vector<std::string> replicas;       ///< All of them.
  friend bool operator==(const TunnelSettings&, const TunnelSettings&) = default;
};

/// One [[service_mapping]]: what a virtual service name of an account leads to. account + service_id + each location is
/// unique.
struct ServiceMapping {
  std::string account;
  std::string service_id;
  Endpoint internal_address;
  std::vector<std::string> locations{""};  ///< "" is the default location.
  std::vector<Endpoint> endpoints;         ///< What stands behind internal_address, where a cluster says so: dialled by
                                           ///< turns in its place.
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

/// One [[http_proxy.issuer]]: whose tokens are taken, and for which account. Of each pair exactly one is set:
/// jwks_file and jwks_url, account and account_claim.
struct IssuerSettings {
  std::string issuer;  ///< `iss`
  std::filesystem::path jwks_file;
  std::string jwks_url;
  std::filesystem::path ca;             ///< Signs the server of jwks_url; empty: the system's store.
  std::vector<std::string> audience;    ///< Of `aud` one must be here; empty: whatever it is. So, too, the two below,
  std::vector<std::string> client_ids;  ///< for `client_id`, `azp` and `cid`,
  std::vector<std::string> subjects;    ///< and for `sub`. One of the three is not empty.
  std::string account;
  std::string account_claim;  ///< A JSON pointer.
  friend bool operator==(const IssuerSettings&, const IssuerSettings&) = default;
};

/// How a proxy tells whose agents a caller may reach.
struct CallerSettings {
  std::vector<IssuerSettings> issuers;  ///< Any: nobody passes without a token of one of them, which says the account.
  // Without issuers:
  enum class Account : std::uint8_t { fixed, consumer_field, service_token };
  Account account_from = Account::fixed;
  std::string account;        ///< Account::fixed
  std::string account_claim;  ///< Account::service_token: a JSON pointer into a token that nobody verifies.
  friend bool operator==(const CallerSettings&, const CallerSettings&) = default;
};

/// Table [http_proxy]: where workloads reach virtual hosts (contracts 2). Not there: no proxy.
struct HttpProxySettings {
  ListenSettings port{.listen = {"127.0.0.1", 20003}, .allow_from = {}, .connections_max = 10'000};
  CallerSettings callers;
  friend bool operator==(const HttpProxySettings&, const HttpProxySettings&) = default;
};

/// One [[socks5_proxy.consumer]]: who may log in with a password, and where to that leads.
struct Socks5Consumer {
  std::string name;  ///< For people.
  std::string account;
  std::vector<std::string> locations{""};
  std::vector<Endpoint> virtual_hosts;
  SecretHash secret;
  friend bool operator==(const Socks5Consumer&, const Socks5Consumer&) = default;
};

/// Table [socks5_proxy]: the same for clients that speak SOCKS 5 (contracts 3). Not there: no proxy.
struct Socks5ProxySettings {
  ListenSettings port{.listen = {"127.0.0.1", 20004}, .allow_from = {}, .connections_max = 10'000};
  std::string
      unauthenticated_account;  ///< Whose agents everybody may go to who can connect; "": nobody without a login.
  std::vector<Socks5Consumer> consumers;
  bool takes_tokens = false;  ///< Of the HTTP proxy's issuers.
  friend bool operator==(const Socks5ProxySettings&, const Socks5ProxySettings&) = default;
};

/// Table [deny]: identities whose live tunnels end within 5 s and that are refused from then on.
struct DenyList {
  std::vector<std::string> certificate_serials;  ///< Lower-case hex without colons and leading zeros, as `openssl x509
                                                 ///< -serial` gives it but for case.
  std::vector<std::string> agents;               ///< SPIFFE ids: spiffe://domain/account/a[/location/l]/agent/n.
  friend bool operator==(const DenyList&, const DenyList&) = default;
};

/// Table [kubernetes]: the cluster whose objects this server obeys. Not there: none.
struct KubernetesSettings {
  bool is_secure = true;  ///< https://; http:// is for loopback.
  Endpoint api_server;    ///< Key api_server = "https://host:port". Default: that of the pod.
  std::filesystem::path ca;
  std::filesystem::path token_file;
  std::filesystem::path client_certificate;
  std::filesystem::path client_key;
  std::string name_space;     ///< Key namespace: where the server's own objects are. Default: that of the pod.
  std::string identity;       ///< Among the replicas. Default: the host name, which a pod has of its own.
  Endpoint external_address;  ///< Where agents dial in: for the status of ServiceMappings.
  std::string account;        ///< Of ServiceMappings without subaccountId.
  /// Of services' names: ".svc." and key cluster_domain.
  std::string service_suffix = ".svc.cluster.local";
  bool allow_address_targets = false;  ///< Whether internalAddress may be an IP address.
  bool endpoint_slices = false;        ///< Targets by Services and EndpointSlices, not by the cluster's DNS.
  std::string replicas_service;  ///< The headless Service that the replicas stand behind; empty: there is only one.
  friend bool operator==(const KubernetesSettings&, const KubernetesSettings&) = default;
};

/// Table [on_premise_services]: virtual hosts as Services of the cluster. Not there: none.
struct OnPremiseSettings {
  ListenSettings port{.listen = {"127.0.0.1", 20100}};  ///< Of each object, but for the number: that is one of `ports`.
  PortRange ports{20100, 20499};                        ///< Key listen = "0.0.0.0:20100-20499".
  std::vector<std::string> namespaces;                  ///< Empty: all.
  std::vector<std::string> accounts;                    ///< Which ones an object may name; "*": every one.
  friend bool operator==(const OnPremiseSettings&, const OnPremiseSettings&) = default;
};

struct Config {
  TunnelSettings tunnel;
  std::vector<ServiceMapping> service_mappings;
  std::vector<VirtualListener> virtual_listeners;
  std::optional<HttpProxySettings> http_proxy;
  std::optional<Socks5ProxySettings> socks5_proxy;
  std::optional<KubernetesSettings> kubernetes;
  std::optional<OnPremiseSettings> on_premise_services;
  DenyList deny;
  LogSettings log;
  AdminSettings admin;
  MetricsSettings metrics;
  LimitSettings limits;
};

/// Reads and checks the file and its drop-ins (`<file>.d/*.toml`, in name order; tables there add to lists and override
/// values). The error's text has one line per fault, "file:line: key: what, and what to do", all faults at once; a line
/// that begins with a space continues the one before it. Codes: "config.unreadable", "config.syntax", "config.invalid".
/// Relative paths are relative to the file that names them. Looks at certificate files only for being there and
/// readable; TLS checks their content. May block: call it off the workers.
Result<Config> load_config(const ConfigSource& source);

/// The files that `config` names, whose change is a reason to load again. May repeat.
std::vector<std::filesystem::path> files_of(const Config& config);

/// Every key that load_config knows, dotted and sorted: "tunnel.listen".
std::vector<std::string> config_keys();

}  // namespace culvert::server
