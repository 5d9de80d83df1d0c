// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/endpoint_slice.hpp"

#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

bool condition(const json::object& conditions, std::string_view name, bool if_missing) {
  const json::value* value = conditions.if_contains(name);
  return value == nullptr || !value->is_bool() ? if_missing : value->get_bool();
}

}  // namespace

std::vector<NamedPort> read_ports(const json::object& object) {
  std::vector<NamedPort> ports;
  const json::array* all = array_at(object, "ports");
  for (const json::value& each : all == nullptr ? json::array() : *all) {
    if (!each.is_object()) continue;
    const json::object& port = each.get_object();
    const std::string protocol = text_at(port, "protocol");
    const std::int64_t number = number_at(port, "port");
    if (number < 1 || number > 65535 || (!protocol.empty() && protocol != "TCP")) continue;
    ports.push_back({text_at(port, "name"), static_cast<std::uint16_t>(number)});
  }
  return ports;
}

ClusterService read_service(const json::object& object) {
  const json::object& spec = object_at(object, "spec");
  return {read_ports(spec), text_at(spec, "type") == "ExternalName"};
}

EndpointSlice read_endpoint_slice(const json::object& object) {
  const json::object& metadata = object_at(object, "metadata");
  EndpointSlice slice;
  const std::string service = text_at(object_at(metadata, "labels"), "kubernetes.io/service-name");
  if (!service.empty()) slice.service = text_at(metadata, "namespace") + "/" + service;
  slice.ports = read_ports(object);
  const json::array* all = array_at(object, "endpoints");
  for (const json::value& each : all == nullptr ? json::array() : *all) {
    const json::object* endpoint = each.if_object();
    const json::array* addresses = endpoint == nullptr ? nullptr : array_at(*endpoint, "addresses");
    if (addresses == nullptr) continue;
    // A missing `ready` means true, and the two others mean false (EndpointConditions).
    const json::object& conditions = object_at(*endpoint, "conditions");
    const bool is_ready = condition(conditions, "ready", true);
    const bool is_leaving =
        !is_ready && condition(conditions, "serving", false) && condition(conditions, "terminating", false);
    for (const json::value& text : *addresses) {
      boost::system::error_code not_a_literal;  // A slice of addressType FQDN has names.
      const auto address =
          boost::asio::ip::make_address(text.is_string() ? std::string(text.get_string()) : "", not_a_literal);
      if (!not_a_literal)
        slice.endpoints.push_back({address, text_at(object_at(*endpoint, "targetRef"), "name"), is_ready, is_leaving});
    }
  }
  return slice;
}

}  // namespace culvert::server
