// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/on_premise_object.hpp"

#include <algorithm>
#include <utility>

#include "common/config/settings_reader.hpp"
#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::uint16_t http_port = 80;

PlannedService plan_one(const OnPremiseObject& object, const OnPremiseSettings& settings,
                        const KubernetesSettings& kubernetes) {
  PlannedService planned;
  const auto refuse = [&planned](std::string_view reason, std::string message) {
    planned.reason = reason;
    planned.message = std::move(message);
    return planned;
  };
  const std::string& account = object.account.empty() ? kubernetes.account : object.account;
  if (account.empty())
    return refuse("NoAccount", "spec.account is missing, and the server has no account of its own in [kubernetes]");
  if (!parse_name(account)) return refuse("BadAccount", "spec.account is not a valid name");
  const auto is_it_or_all = [&account](const std::string& allowed) { return allowed == account || allowed == "*"; };
  if (std::ranges::none_of(settings.accounts, is_it_or_all))
    return refuse("AccountNotAllowed", "the server's accounts of [on_premise_services] do not name this account");
  if (!parse_location(object.location)) return refuse("BadLocation", "spec.location is not a valid name");
  auto host = parse_host(object.virtual_host);
  if (!host) return refuse("BadVirtualHost", "spec.virtualHost: " + host.error().text);
  if (object.virtual_port < 1 || object.virtual_port > 65535 || object.port < 0 || object.port > 65535)
    return refuse("BadPort", "ports are from 1 to 65535");
  const auto virtual_port = static_cast<std::uint16_t>(object.virtual_port);
  planned.port = {.name = object.name_space + "/" + object.name,
                  .port = 0,
                  .is_http = object.is_http,
                  .route = {account, object.location},
                  .virtual_host = {std::move(*host), virtual_port}};
  planned.service_port =
      object.port != 0 ? static_cast<std::uint16_t>(object.port) : (object.is_http ? http_port : virtual_port);
  return refuse("Accepted", "");
}

}  // namespace

OnPremiseObject read_on_premise(const json::object& object) {
  const json::object& metadata = object_at(object, "metadata");
  const json::object& spec = object_at(object, "spec");
  return {.name_space = text_at(metadata, "namespace"),
          .name = text_at(metadata, "name"),
          .uid = text_at(metadata, "uid"),
          .version = text_at(metadata, "resourceVersion"),
          .created = text_at(metadata, "creationTimestamp"),
          .generation = number_at(metadata, "generation"),
          .account = text_at(spec, "account"),
          .location = text_at(spec, "location"),
          .virtual_host = text_at(spec, "virtualHost"),
          .virtual_port = number_at(spec, "virtualPort"),
          .port = number_at(spec, "port"),
          .is_http = text_at(spec, "protocol") == "http",
          .status = object_at(object, "status"),
          .is_going = metadata.contains("deletionTimestamp")};
}

std::map<std::string, PlannedService> plan_on_premise(const std::map<std::string, OnPremiseObject>& objects,
                                                      const OnPremiseSettings& settings,
                                                      const KubernetesSettings& kubernetes) {
  std::map<std::string, PlannedService> all;
  for (const auto& [key, object] : objects) all.emplace(key, plan_one(object, settings, kubernetes));
  keep_ports_of(objects, settings.ports, all);
  return all;
}

json::object status_of(const OnPremiseObject& object, const PlannedService& planned, const PublishedFacts& facts,
                       std::string_view now) {
  std::vector<Condition> conditions{{"Accepted", planned.is_accepted(), planned.reason, planned.message}};
  if (planned.is_accepted()) {
    conditions.push_back({"Published", facts.is_published, facts.is_published ? "Published" : facts.reason,
                          facts.is_published ? "" : facts.why_not});
    conditions.push_back({"AgentConnected", facts.has_agent, facts.has_agent ? "Connected" : "NoAgent",
                          facts.has_agent ? "" : "no agent of this account and location is connected"});
  } else {
    conditions.push_back({"Published", false, "NotAccepted", ""});
    conditions.push_back({"AgentConnected", false, "NotAccepted", ""});
  }
  json::object status{{"observedGeneration", object.generation},
                      {"conditions", write_conditions(std::move(conditions), object.status, object.generation, now)}};
  if (planned.port.port != 0) status["port"] = planned.port.port;
  return status;
}

}  // namespace culvert::server
