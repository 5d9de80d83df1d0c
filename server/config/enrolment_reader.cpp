// SPDX-License-Identifier: Apache-2.0
#include "server/config/enrolment_reader.hpp"

#include "common/config/settings_reader.hpp"

namespace culvert::server {

namespace {

constexpr std::size_t addresses_max = 8;
constexpr std::chrono::hours lifetime_min{1};
constexpr std::chrono::days lifetime_max{365};
constexpr std::chrono::minutes token_lifetime_min{1};
constexpr std::chrono::days token_lifetime_max{7};
constexpr std::chrono::days grace_max{365};

std::chrono::seconds read_seconds(const TomlTable& table, std::string_view key, std::chrono::seconds min,
                                  std::chrono::seconds max, std::chrono::seconds usual) {
  const auto time = table.duration(key, min, max);
  return time ? std::chrono::duration_cast<std::chrono::seconds>(*time) : usual;
}

std::optional<EnrolmentSettings::Issuer> read_issuer(const TomlTable& root) {
  const TomlTable table = root.table("issuer");
  EnrolmentSettings::Issuer issuer;
  issuer.name = table.parsed("name", parse_name).value_or("");
  issuer.kind = table.parsed("kind", parse_name).value_or(issuer.kind);
  issuer.group = table.parsed("group", parse_name).value_or(issuer.group);
  if (!root.has("issuer")) return std::nullopt;
  table.require({"name"});
  return issuer;
}

void check_place(const TomlTable& table, const EnrolmentSettings& settings, const TunnelSettings& tunnel,
                 bool cluster) {
  if (settings.issuer && !cluster) table.fault("issuer", "needs a cluster, which has cert-manager: add [kubernetes]");
  if (settings.issuer && !settings.authority_key.empty())
    table.fault("authority_key", "is of no use with an issuer, which signs; leave one of the two out");
  if (!settings.issuer && !table.has("authority_key"))
    table.fault("", cluster ? "needs authority_key, or issuer = {name = \"…\"}" : "needs authority_key");
  if (cluster && table.has("state"))
    table.fault("state", "is of no use in a cluster, where agents are objects; leave it out");
  if (!cluster && tunnel.replicas.size() > 1) {
    table.fault("",
                "several replicas ([tunnel] replicas) cannot enrol without a cluster, since a join token must work "
                "once on all of them; enrol at a single server, or add [kubernetes]");
  }
}

}  // namespace

std::optional<EnrolmentSettings> read_enrolment(const TomlTable& root, const TunnelSettings& tunnel,
                                                const std::optional<KubernetesSettings>& kubernetes) {
  const TomlTable table = root.table("enrolment");
  EnrolmentSettings settings;
  settings.authority_certificate = read_file_path(table, "authority_certificate");
  settings.authority_key = read_secret_path(table, "authority_key");
  settings.issuer = read_issuer(table);
  const auto addresses = table.parsed_list("addresses", [](std::string_view text) { return parse_endpoint(text); });
  settings.server_name = table.parsed("server_name", parse_host).value_or("");
  settings.lifetime = read_seconds(table, "lifetime", lifetime_min, lifetime_max, settings.lifetime);
  settings.join_token_lifetime =
      read_seconds(table, "join_token_lifetime", token_lifetime_min, token_lifetime_max, settings.join_token_lifetime);
  settings.renew_grace = read_seconds(table, "renew_grace", std::chrono::seconds(0), grace_max, settings.renew_grace);
  settings.required = table.boolean("required").value_or(settings.required);
  if (const auto state = table.path("state")) settings.state = *state;
  if (!root.has("enrolment")) return std::nullopt;

  table.require({"authority_certificate", "addresses"});
  if (addresses) settings.addresses = *addresses;
  if (addresses && (addresses->empty() || addresses->size() > addresses_max))
    table.fault("addresses",
                "must have one to eight addresses, which agents that join dial: [\"tunnel.example.com:443\"]");
  check_place(table, settings, tunnel, kubernetes.has_value());
  return settings;
}

}  // namespace culvert::server
