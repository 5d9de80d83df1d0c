// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/destination_object.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;
using Facts = DestinationDefinitions::Facts;
using State = ClusterSecret::State;

namespace {

constexpr std::uint16_t http_port = 80;
constexpr const char* any_destination = "*";
constexpr std::array unsupported_fields{"fragmentRef", "chainRef", "destinationServiceInstanceName"};

std::string without_extension(std::string_view key) {
  for (const std::string_view extension : {".json", ".properties"}) {
    if (key.ends_with(extension)) key.remove_suffix(extension.size());
  }
  return std::string(key);
}

Facts facts_of(const DestinationDefinition& definition) {
  return {.flaw = "",
          .type = definition.type,
          .proxy = definition.proxy,
          .address = definition.address,
          .location = definition.location_id};
}

/// Plans a port for the destination that `facts` describe; nullptr: each request names one.
PlannedService plan_port(const DestinationObject& object, const Facts* facts, const GatewaySettings& gateway) {
  PlannedService planned;
  const auto refuse = [&planned](std::string_view reason, std::string message) {
    planned.reason = reason;
    planned.message = std::move(message);
    return planned;
  };
  planned.port.name = object.name_space + "/" + object.name;
  const bool is_http = facts == nullptr || facts->type == DestinationType::http;
  const bool is_on_premise = facts != nullptr && facts->proxy == DestinationProxy::on_premise;
  if (is_on_premise) {
    if (gateway.account.empty())
      return refuse("NoAccount", "an on-premise destination needs account of [gateway]: whose agents lead there");
    if (!parse_location(facts->location)) return refuse("BadLocation", "CloudConnectorLocationId is not a valid name");
    planned.port.route = {gateway.account, facts->location};
  }
  if (is_http) {
    planned.port.is_http = true;
    planned.port.destination = object.destination;
    planned.service_port = http_port;
  } else if (!is_on_premise) {
    return refuse("NotSupported", "only destinations of type HTTP may have ProxyType Internet");
  } else if (!gateway.callers.issuers.empty()) {
    return refuse("NotSupported", "[gateway] asks for tokens, which a port of type TCP, LDAP or MAIL cannot check");
  } else {
    planned.port.virtual_host = facts->address;
    planned.service_port = facts->address.port;
  }
  if (object.port != 0) planned.service_port = static_cast<std::uint16_t>(object.port);
  return refuse("Accepted", "");
}

PlannedService plan_one(const DestinationObject& object, const DestinationDefinitions& definitions,
                        const GatewaySettings& gateway) {
  const auto refused = [](std::string reason, std::string message) {
    PlannedService planned;
    planned.reason = std::move(reason);
    planned.message = std::move(message);
    return planned;
  };
  if (!object.unsupported.empty())
    return refused("NotSupported", fmt::format("spec.{} is not supported; remove it", object.unsupported));
  if (object.destination.empty())
    return refused("BadReference", "spec.destinationRef.name is missing: write a destination's name, or \"*\"");
  if (object.port < 0 || object.port > 65535) return refused("BadPort", "ports are from 1 to 65535");
  if (object.destination == any_destination) return plan_port(object, nullptr, gateway);
  if (!definitions.problem.empty()) return refused("NoDefinitions", definitions.problem);
  const auto found = definitions.by_name.find(object.destination);
  if (found == definitions.by_name.end())
    return refused("NoDefinition", fmt::format("the Secret {} has no destination of the name \"{}\"",
                                               definitions_secret, object.destination));
  if (!found->second.flaw.empty())
    return refused("BadDefinition", fmt::format("the Secret {}: {}", definitions_secret, found->second.flaw));
  return plan_port(object, &found->second, gateway);
}

}  // namespace

DestinationObject::operator ServiceOwner() const {
  return {"destination.connectivity.api.sap/v1", "Destination", name_space, name, uid};
}

DestinationObject read_destination_object(const json::object& object) {
  const json::object& metadata = object_at(object, "metadata");
  const json::object& spec = object_at(object, "spec");
  DestinationObject read{.name_space = text_at(metadata, "namespace"),
                         .name = text_at(metadata, "name"),
                         .uid = text_at(metadata, "uid"),
                         .version = text_at(metadata, "resourceVersion"),
                         .created = text_at(metadata, "creationTimestamp"),
                         .generation = number_at(metadata, "generation"),
                         .destination = text_at(object_at(spec, "destinationRef"), "name"),
                         .port = number_at(object_at(spec, "service"), "port"),
                         .status = object_at(object, "status"),
                         .is_going = metadata.contains("deletionTimestamp")};
  for (const char* field : unsupported_fields) {
    const json::value* value = spec.if_contains(field);
    const bool is_empty = value == nullptr || value->is_null() || (value->is_string() && value->get_string().empty());
    if (!is_empty && read.unsupported.empty()) read.unsupported = field;
  }
  return read;
}

DestinationDefinitions read_definitions(const ClusterSecret& secret) {
  DestinationDefinitions definitions;
  switch (secret.state) {
    case State::there: break;
    case State::unread: definitions.problem = "the Secret has not been read yet"; break;
    case State::missing:
      definitions.problem = fmt::format("the server's namespace has no Secret {}; create it", definitions_secret);
      break;
    case State::refused:
      definitions.problem = fmt::format("the Secret {} cannot be read: {}", definitions_secret, secret.refusal);
      break;
  }
  for (const auto& [key, value] : secret.values) {
    if (key.ends_with(".pem")) continue;
    const auto definition = read_destination(value.reveal());
    if (definition)
      definitions.by_name.insert_or_assign(definition->name, facts_of(*definition));
    else
      definitions.by_name.try_emplace(without_extension(key), Facts{.flaw = definition.error().text});
  }
  return definitions;
}

std::map<std::string, PlannedService> plan_destinations(const std::map<std::string, DestinationObject>& objects,
                                                        const DestinationDefinitions& definitions,
                                                        const GatewaySettings& gateway) {
  std::map<std::string, PlannedService> all;
  for (const auto& [key, object] : objects) all.emplace(key, plan_one(object, definitions, gateway));
  if (gateway.destination_ports) keep_ports_of(objects, gateway.destination_ports->ports, all);
  return all;
}

json::object status_of(const DestinationObject& object, const PlannedService& planned, const PublishedFacts& facts,
                       std::string_view now) {
  Condition available{"Available", true, "Available", ""};
  if (!planned.is_accepted())
    available = {"Available", false, planned.reason, planned.message};
  else if (!facts.is_published)
    available = {"Available", false, facts.reason, facts.why_not};
  else if (!facts.has_agent)
    available = {"Available", false, "NoAgent", "no agent of this account and location is connected"};
  json::object condition{{"type", available.type},
                         {"status", available.holds ? "True" : "False"},
                         {"reason", available.reason},
                         {"message", available.message}};
  json::object before = condition_in(object.status, "Available");
  const std::string then = text_at(before, "lastUpdateTime");
  before.erase("lastUpdateTime");
  condition["lastUpdateTime"] = before == condition ? then : std::string(now);
  json::object status{{"observedGeneration", object.generation}, {"conditions", json::array{std::move(condition)}}};
  if (planned.port.port != 0) status["port"] = planned.port.port;
  return status;
}

std::optional<RefusalReason> new_problem(const StatusWrite& write) {
  const json::object& available = condition_in(write.status, "Available");
  RefusalReason problem{text_at(available, "reason"), text_at(available, "message")};
  if (text_at(available, "status") != "False") return std::nullopt;
  for (const std::string_view passing : {"NoReplica", "NoAgent", "Failed"}) {
    if (problem.reason == passing) return std::nullopt;
  }
  if (problem.reason == text_at(condition_in(write.before, "Available"), "reason")) return std::nullopt;
  return problem;
}

}  // namespace culvert::server
