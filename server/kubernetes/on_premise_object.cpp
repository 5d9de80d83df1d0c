// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/on_premise_object.hpp"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::uint16_t http_port = 80;
constexpr const char* manager = "culvert-server";

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

json::object metadata_of(const OnPremiseObject& object, std::string_view name, json::object labels) {
  return {{"name", name},
          {"namespace", object.name_space},
          {"labels", std::move(labels)},
          {"ownerReferences", json::array{json::object{{"apiVersion", "culvert.dev/v1alpha1"},
                                                       {"kind", "OnPremiseService"},
                                                       {"name", object.name},
                                                       {"uid", object.uid},
                                                       {"controller", true},
                                                       {"blockOwnerDeletion", false}}}}};
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
  std::vector<std::pair<const std::string, OnPremiseObject> const*> by_age;
  by_age.reserve(objects.size());
  for (const auto& entry : objects) by_age.push_back(&entry);
  std::ranges::sort(by_age, {}, [](const auto* each) { return std::tie(each->second.created, each->first); });
  std::map<std::string, PlannedService> all;
  std::set<std::int64_t> taken;
  for (const auto* each : by_age) {
    PlannedService planned = plan_one(each->second, settings, kubernetes);
    const std::int64_t port = number_at(each->second.status, "port");
    const bool is_ours = port >= settings.ports.low && port <= settings.ports.high;
    if (planned.is_accepted() && is_ours && taken.insert(port).second)
      planned.port.port = static_cast<std::uint16_t>(port);
    all.emplace(each->first, std::move(planned));
  }
  return all;
}

json::object service_of(const OnPremiseObject& object, const PlannedService& planned) {
  json::object port{{"name", planned.port.is_http ? "http" : "tcp"},
                    {"protocol", "TCP"},
                    {"port", planned.service_port},
                    {"targetPort", planned.port.port}};
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", metadata_of(object, object.name, {{"app.kubernetes.io/managed-by", manager}})},
          {"spec", {{"ports", json::array{std::move(port)}}}}};
}

std::string slice_name(const OnPremiseObject& object) {
  return object.name + "-culvert";
}

json::object slice_of(const OnPremiseObject& object, const PlannedService& planned,
                      const std::vector<Replica>& replicas, std::string_view version) {
  // A slice has addresses of one family: IPv4 if any replica has such an address.
  const bool has_v4 = std::ranges::any_of(replicas, [](const Replica& replica) {
    return std::ranges::any_of(replica.addresses, &boost::asio::ip::address::is_v4);
  });
  const bool has_any = std::ranges::any_of(replicas, [](const auto& replica) { return !replica.addresses.empty(); });
  json::array endpoints;
  for (const Replica& replica : replicas) {
    const auto address = std::ranges::find(replica.addresses, has_v4, &boost::asio::ip::address::is_v4);
    if (address == replica.addresses.end()) continue;
    endpoints.push_back(
        json::object{{"addresses", json::array{address->to_string()}}, {"conditions", {{"ready", true}}}});
  }
  return {{"apiVersion", fmt::format("discovery.k8s.io/{}", version)},
          {"kind", "EndpointSlice"},
          {"metadata", metadata_of(object, slice_name(object),
                                   {{"kubernetes.io/service-name", object.name},
                                    {"endpointslice.kubernetes.io/managed-by", manager}})},
          {"addressType", has_v4 || !has_any ? "IPv4" : "IPv6"},
          {"endpoints", std::move(endpoints)},
          {"ports",
           json::array{json::object{
               {"name", planned.port.is_http ? "http" : "tcp"}, {"protocol", "TCP"}, {"port", planned.port.port}}}}};
}

bool is_owned(const json::object& object, const OnPremiseObject& by) {
  const json::array* owners = array_at(object_at(object, "metadata"), "ownerReferences");
  return owners != nullptr && std::ranges::any_of(*owners, [&](const json::value& owner) {
           return owner.is_object() && text_at(owner.get_object(), "uid") == by.uid;
         });
}

bool has_all(const json::value& actual, const json::value& wanted) {
  if (const json::object* object = wanted.if_object()) {
    return actual.is_object() && std::ranges::all_of(*object, [&](const auto& member) {
             const json::value* there = actual.get_object().if_contains(member.key());
             return there != nullptr && has_all(*there, member.value());
           });
  }
  if (const json::array* array = wanted.if_array())
    return actual.is_array() && std::ranges::equal(actual.get_array(), *array, has_all);
  boost::system::error_code not_a_number;
  const auto number = wanted.to_number<std::int64_t>(not_a_number);
  if (!not_a_number) {
    boost::system::error_code other;
    return actual.to_number<std::int64_t>(other) == number && !other;
  }
  return actual == wanted;
}

Result<ObjectWrite> write_of(const json::object* actual, json::object wanted, const OnPremiseObject& owner) {
  if (actual == nullptr) return ObjectWrite{ObjectWrite::Kind::create, std::move(wanted)};
  if (!is_owned(*actual, owner)) {
    return fail("kubernetes.name_taken",
                fmt::format("a {} {} is there already and is not ours; rename this object, or delete that one",
                            text_at(wanted, "kind"), text_at(object_at(wanted, "metadata"), "name")));
  }
  // These cannot be changed, or are right since the object was made.
  for (const char* fixed : {"apiVersion", "kind", "addressType", "metadata"}) wanted.erase(fixed);
  if (has_all(*actual, wanted)) return ObjectWrite{};
  wanted["metadata"] = {{"resourceVersion", text_at(object_at(*actual, "metadata"), "resourceVersion")}};
  return ObjectWrite{ObjectWrite::Kind::patch, std::move(wanted)};
}

ObjectWrite withdrawal_of(const json::object* actual, const OnPremiseObject& owner) {
  if (actual == nullptr || !is_owned(*actual, owner)) return {};
  const json::array* endpoints = array_at(*actual, "endpoints");
  if (endpoints == nullptr || endpoints->empty()) return {};
  return {ObjectWrite::Kind::patch, {{"endpoints", json::array()}}};
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
