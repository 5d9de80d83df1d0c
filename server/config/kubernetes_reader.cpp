// SPDX-License-Identifier: Apache-2.0
#include "server/config/kubernetes_reader.hpp"

#include <array>
#include <cstdlib>
#include <fstream>

#include <boost/asio/ip/address.hpp>
#include <fmt/core.h>
#include <unistd.h>

#include "common/config/settings_reader.hpp"
#include "server/web/document_url.hpp"

namespace culvert::server {

namespace {

const std::string pod_folder = "/var/run/secrets/kubernetes.io/serviceaccount";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "culvert-server";
}

Result<DocumentUrl> parse_api_url(std::string_view text) {
  auto url = parse_document_url(text);
  if (url && url->path == "/" && url->query.empty()) return url;
  return fail("config.malformed",
              "must be https://host:port; http:// is accepted for this machine's own 127.0.0.1 or localhost only");
}

}  // namespace

Result<EndpointRange> parse_ports_to_listen(std::string_view text) {
  auto range = parse_endpoint_range(text);
  if (!range) return range;
  boost::system::error_code not_a_literal;
  (void)boost::asio::ip::make_address(range->host, not_a_literal);
  if (not_a_literal)
    return fail("config.malformed", fmt::format("\"{}\": write an IP address and a range of ports", text));
  return range;
}

std::optional<KubernetesSettings> read_kubernetes(const TomlTable& root) {
  const TomlTable table = root.table("kubernetes");
  KubernetesSettings settings;
  const auto url = table.parsed("api_server", parse_api_url);
  settings.ca = read_file_path(table, "ca");
  settings.token_file = read_file_path(table, "token_file");
  const ClientCertificate shown = read_client_certificate(table);
  settings.client_certificate = shown.certificate;
  settings.client_key = shown.key;
  settings.name_space = table.parsed("namespace", parse_name).value_or("");
  settings.identity = table.parsed("identity", parse_name).value_or("");
  const auto external = table.parsed("external_address", [](std::string_view text) { return parse_endpoint(text); });
  settings.account = table.parsed("account", parse_name).value_or("");
  if (const auto domain = table.parsed("cluster_domain", parse_host)) settings.service_suffix = ".svc." + *domain;
  settings.allow_address_targets = table.boolean("allow_address_targets").value_or(false);
  settings.endpoint_slices = table.boolean("endpoint_slices").value_or(false);
  settings.replicas_service = table.parsed("replicas_service", parse_name).value_or("");
  if (!root.has("kubernetes")) return std::nullopt;

  table.require({"external_address"});
  settings.external_address = external.value_or(Endpoint{});
  if (url) {
    settings.is_secure = url->is_secure();
    settings.api_server = url->server;
  } else if (!table.has("api_server")) {
    const std::string host = environment("KUBERNETES_SERVICE_HOST");
    auto server = parse_endpoint((host.find(':') == host.npos ? host : "[" + host + "]") + ":" +
                                 environment("KUBERNETES_SERVICE_PORT"));
    if (!server) {
      table.fault("", "needs api_server = \"https://…\", since the server does not run in a pod");
    } else {
      settings.api_server = *server;
      if (settings.ca.empty()) settings.ca = pod_folder + "/ca.crt";
      if (settings.token_file.empty() && settings.client_certificate.empty())
        settings.token_file = pod_folder + "/token";
    }
  }
  if (settings.name_space.empty()) settings.name_space = first_line(pod_folder + "/namespace");
  if (settings.name_space.empty())
    table.fault("", "needs namespace = \"…\" for its Lease, since the server does not run in a pod");
  if (settings.identity.empty()) settings.identity = host_name();
  return settings;
}

std::optional<OnPremiseSettings> read_on_premise_services(const TomlTable& root,
                                                          const std::optional<KubernetesSettings>& kubernetes,
                                                          const std::vector<PlacedListener>& others) {
  const TomlTable table = root.table("on_premise_services");
  OnPremiseSettings settings;
  if (const auto listen = table.parsed("listen", parse_ports_to_listen)) {
    settings.port.listen = {listen->host, listen->ports.low};
    settings.ports = listen->ports;
  }
  settings.port.allow_from = read_networks(table, "allow_from");
  read_connection_limits(table, settings.port);
  settings.namespaces = table.parsed_list("namespaces", parse_name).value_or(std::vector<std::string>());
  const auto accounts = table.parsed_list(
      "accounts", [](std::string_view text) { return text == "*" ? Result<std::string>(text) : parse_name(text); });
  if (!root.has("on_premise_services")) return std::nullopt;

  require_allow_from(table, settings.port.listen, settings.port.allow_from);
  if (accounts) settings.accounts = *accounts;
  if (!accounts && kubernetes && !kubernetes->account.empty()) settings.accounts = {kubernetes->account};
  if (settings.accounts.empty())
    table.fault("accounts", "is empty: write the accounts that an OnPremiseService may name, or [\"*\"]");
  if (!kubernetes) {
    table.fault("", "need a cluster: add [kubernetes]");
  } else if (kubernetes->replicas_service.empty()) {
    table.fault("", "needs replicas_service in [kubernetes], which provides the addresses behind the Services");
  }
  for (const PlacedListener& other : others) {
    if (settings.ports.contains(other.listen.port))
      table.fault("listen", fmt::format("contains the port {}, which {} uses; choose other ports", other.listen.port,
                                        other.table.where("listen")));
  }
  return settings;
}

void check_destination_ports(const TomlTable& root, const Config& config, const std::vector<PlacedListener>& others) {
  if (!config.gateway || !config.gateway->destination_ports) return;
  constexpr std::string_view key = "destination_ports";
  const TomlTable table = root.table("gateway");
  const EndpointRange& range = *config.gateway->destination_ports;
  if (!config.kubernetes) {
    table.fault(key, "needs a cluster: add [kubernetes]");
  } else if (config.kubernetes->replicas_service.empty()) {
    table.fault(key, "needs replicas_service in [kubernetes], which provides the addresses behind the Services");
  }
  for (const PlacedListener& other : others) {
    if (range.ports.contains(other.listen.port))
      table.fault(key, fmt::format("contains the port {}, which {} uses; choose other ports", other.listen.port,
                                   other.table.where("listen")));
  }
  if (!config.on_premise_services) return;
  const PortRange& theirs = config.on_premise_services->ports;
  if (range.ports.low <= theirs.high && theirs.low <= range.ports.high)
    table.fault(key, "has ports of [on_premise_services]; choose others");
}

}  // namespace culvert::server
