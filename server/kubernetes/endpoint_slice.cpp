// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/endpoint_slice.hpp"

#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

std::vector<NamedPort> read_ports(const json::object& of) {
  std::vector<NamedPort> ports;
  const json::array* all = array_at(of, "ports");
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
    // Not said means ready (EndpointConditions).
    const json::value* ready = object_at(*endpoint, "conditions").if_contains("ready");
    const bool is_ready = ready == nullptr || !ready->is_bool() || ready->get_bool();
    for (const json::value& text : *addresses) {
      boost::system::error_code not_a_literal;  // A slice of addressType FQDN has names.
      const auto address =
          boost::asio::ip::make_address(text.is_string() ? std::string(text.get_string()) : "", not_a_literal);
      if (!not_a_literal)
        slice.endpoints.push_back({address, text_at(object_at(*endpoint, "targetRef"), "name"), is_ready});
    }
  }
  return slice;
}

}  // namespace culvert::server
