// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_mapping_object.hpp"

#include <algorithm>
#include <charconv>
#include <tuple>

#include <boost/asio/ip/address.hpp>
#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::size_t label_length_max = 63;  // RFC 1123.

bool is_label(std::string_view text) {
  const auto is_inner = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !text.empty() && text.size() <= label_length_max && std::ranges::all_of(text, is_inner) &&
         text.front() != '-' && text.back() != '-';
}

}  // namespace

ServiceMappingObject read_service_mapping(const json::object& object) {
  const json::object& metadata = object_at(object, "metadata");
  const json::object& spec = object_at(object, "spec");
  ServiceMappingObject read{.name = text_at(metadata, "name"),
                            .uid = text_at(metadata, "uid"),
                            .version = text_at(metadata, "resourceVersion"),
                            .created = text_at(metadata, "creationTimestamp"),
                            .generation = number_at(metadata, "generation"),
                            .account = text_at(spec, "subaccountId"),
                            .type = text_at(spec, "type"),
                            .service_id = text_at(spec, "serviceId"),
                            .internal_address = text_at(spec, "internalAddress"),
                            .status = object_at(object, "status"),
                            .is_going = metadata.contains("deletionTimestamp")};
  if (const json::array* locations = array_at(spec, "locationIds"); locations != nullptr && !locations->empty()) {
    read.locations.clear();
    for (const json::value& location : *locations)
      read.locations.emplace_back(location.is_string() ? std::string_view(location.get_string()) : "?");
  }
  return read;
}

std::expected<InternalAddress, std::string> parse_internal_address(std::string_view text,
                                                                   const KubernetesSettings& settings) {
  const auto refuse = [&text](std::string_view why) {
    return std::unexpected(fmt::format("internalAddress \"{}\": {}", text, why));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos || colon + 1 == text.size()) return refuse("write service.namespace:port");
  std::string_view host = text.substr(0, colon);
  if (host.ends_with('.')) host.remove_suffix(1);  // As DNS writes a name that is whole.
  const std::string_view port = text.substr(colon + 1);
  InternalAddress address;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error == std::errc::result_out_of_range) return refuse("the port is from 1 to 65535");
  if (error != std::errc() || end != port.data() + port.size()) {
    if (!is_label(port) || port.size() > 15) return refuse("the port is a number, or the name of one of the service");
    address.port = 0;
    address.port_name = port;
  } else if (address.port == 0) {
    return refuse("the port is from 1 to 65535");
  }
  boost::system::error_code not_a_literal;
  const std::string literal(host.starts_with('[') && host.ends_with(']') ? host.substr(1, host.size() - 2) : host);
  (void)boost::asio::ip::make_address(literal, not_a_literal);
  if (!not_a_literal) {
    if (!settings.allow_address_targets)
      return refuse("an IP address is taken only where the server's allow_address_targets is true; name a service");
    if (address.port == 0) return refuse("an address has no named ports");
    address.host = literal;
    return address;
  }
  const std::string& suffix = settings.service_suffix;
  if (host.ends_with(suffix)) {
    host.remove_suffix(suffix.size());
  } else if (host.ends_with(".svc")) {
    host.remove_suffix(4);
  }
  const std::size_t dot = host.find('.');
  if (dot == host.npos) return refuse("the service's namespace is missing: write service.namespace:port");
  const std::string_view service = host.substr(0, dot);
  const std::string_view space = host.substr(dot + 1);
  if (!is_label(service) || !is_label(space))
    return refuse("write service.namespace:port, or service.namespace" + suffix + ":port");
  address.host = fmt::format("{}.{}{}", service, space, suffix);
  address.service = fmt::format("{}/{}", space, service);
  return address;
}

namespace {

/// The plan for one object, without regard to the others.
PlannedMapping plan_one(const ServiceMappingObject& object, const KubernetesSettings& settings) {
  PlannedMapping planned{.key = object.name, .target = {}, .mapping = {}, .reason = {}, .message = {}};
  const auto refuse = [&planned](std::string_view reason, std::string message) {
    planned.reason = reason;
    planned.message = std::move(message);
    return planned;
  };
  if (object.type != "TCP" && object.type != "RFC") return refuse("BadType", "type is TCP or RFC");
  const std::string& account = object.account.empty() ? settings.account : object.account;
  if (account.empty())
    return refuse("NoAccount", "subaccountId is missing, and the server has no account of its own in [kubernetes]");
  const auto name = parse_name(account);
  if (!name) return refuse("BadAccount", "subaccountId: " + name.error().text);
  const auto service = parse_name(object.service_id);
  if (!service) return refuse("BadServiceId", "serviceId: " + service.error().text);
  for (const std::string& location : object.locations) {
    if (const auto good = parse_location(location); !good)
      return refuse("BadLocation", "locationIds: " + good.error().text);
  }
  auto target = parse_internal_address(object.internal_address, settings);
  if (!target) return refuse("BadInternalAddress", target.error());
  planned.mapping = {account, *service, {target->host, target->port}, object.locations, {}};
  planned.target = std::move(*target);
  return refuse("Accepted", "");
}

}  // namespace

std::vector<PlannedMapping> plan_service_mappings(const std::map<std::string, ServiceMappingObject>& objects,
                                                  const KubernetesSettings& settings) {
  std::vector<const ServiceMappingObject*> by_age;
  by_age.reserve(objects.size());
  for (const auto& [key, object] : objects) by_age.push_back(&object);
  std::ranges::sort(by_age, {}, [](const ServiceMappingObject* each) { return std::tie(each->created, each->name); });
  std::map<std::tuple<std::string, std::string, std::string>, std::string> taken;
  std::vector<PlannedMapping> all;
  for (const ServiceMappingObject* object : by_age) {
    PlannedMapping planned = plan_one(*object, settings);
    for (const std::string& location : planned.mapping.locations) {
      if (!planned.is_accepted()) break;
      const auto found = taken.find({planned.mapping.account, planned.mapping.service_id, location});
      if (found == taken.end()) continue;
      planned.reason = "Duplicate";
      planned.message = fmt::format("ServiceMapping {} is older and has this account, service and location{}",
                                    found->second, location.empty() ? "" : " " + location);
    }
    if (planned.is_accepted()) {
      for (const std::string& location : planned.mapping.locations)
        taken[{planned.mapping.account, planned.mapping.service_id, location}] = object->name;
    }
    all.push_back(std::move(planned));
  }
  return all;
}

json::object status_of(const ServiceMappingObject& object, const PlannedMapping& planned, const MappingFacts& facts,
                       const KubernetesSettings& settings, std::string_view now) {
  std::vector<Condition> conditions{{"Accepted", planned.is_accepted(), planned.reason, planned.message}};
  if (planned.is_accepted()) {
    conditions.push_back({"TargetResolved", facts.is_resolved, facts.is_resolved ? "Resolved" : "NotFound",
                          facts.is_resolved ? "" : facts.why_not});
    conditions.push_back({"AgentConnected", facts.has_agent, facts.has_agent ? "Connected" : "NoAgent",
                          facts.has_agent ? "" : "no agent of this account and location is connected"});
  } else {
    conditions.push_back({"TargetResolved", false, "NotAccepted", ""});
    conditions.push_back({"AgentConnected", false, "NotAccepted", ""});
  }
  json::object status{{"observedGeneration", object.generation},
                      {"conditions", write_conditions(std::move(conditions), object.status, object.generation, now)}};
  if (planned.is_accepted())
    status["endpoint"] = fmt::format("tcp://{}/{}", to_string(settings.external_address), planned.mapping.service_id);
  return status;
}

}  // namespace culvert::server
