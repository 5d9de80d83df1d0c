// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/published_service.hpp"

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr const char* manager = "culvert-server";

json::object metadata_of(const ServiceOwner& owner, std::string_view name, json::object labels) {
  return {{"name", name},
          {"namespace", owner.name_space},
          {"labels", std::move(labels)},
          {"ownerReferences", json::array{json::object{{"apiVersion", owner.api_version},
                                                       {"kind", owner.kind},
                                                       {"name", owner.name},
                                                       {"uid", owner.uid},
                                                       {"controller", true},
                                                       {"blockOwnerDeletion", false}}}}};
}

}  // namespace

json::object service_of(const ServiceOwner& owner, const PlannedService& planned) {
  json::object port{{"name", planned.port.is_http ? "http" : "tcp"},
                    {"protocol", "TCP"},
                    {"port", planned.service_port},
                    {"targetPort", planned.port.port}};
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", metadata_of(owner, owner.name, {{"app.kubernetes.io/managed-by", manager}})},
          {"spec", {{"ports", json::array{std::move(port)}}}}};
}

std::string slice_name(const ServiceOwner& owner) {
  return owner.name + "-culvert";
}

json::object slice_of(const ServiceOwner& owner, const PlannedService& planned, const std::vector<Replica>& replicas,
                      std::string_view version) {
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
          {"metadata", metadata_of(owner, slice_name(owner),
                                   {{"kubernetes.io/service-name", owner.name},
                                    {"endpointslice.kubernetes.io/managed-by", manager}})},
          {"addressType", has_v4 || !has_any ? "IPv4" : "IPv6"},
          {"endpoints", std::move(endpoints)},
          {"ports",
           json::array{json::object{
               {"name", planned.port.is_http ? "http" : "tcp"}, {"protocol", "TCP"}, {"port", planned.port.port}}}}};
}

bool is_owned(const json::object& object, const ServiceOwner& by) {
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

Result<ObjectWrite> write_of(const json::object* actual, json::object wanted, const ServiceOwner& owner) {
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

ObjectWrite withdrawal_of(const json::object* actual, const ServiceOwner& owner) {
  if (actual == nullptr || !is_owned(*actual, owner)) return {};
  const json::array* endpoints = array_at(*actual, "endpoints");
  if (endpoints == nullptr || endpoints->empty()) return {};
  return {ObjectWrite::Kind::patch, {{"endpoints", json::array()}}};
}

}  // namespace culvert::server
