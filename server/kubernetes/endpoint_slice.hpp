// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <boost/asio/ip/address.hpp>
#include <boost/json/object.hpp>

namespace culvert::server {

/// A named port of a Service, or of an EndpointSlice.
struct NamedPort {
  std::string name;  ///< "": the only one.
  std::uint16_t port = 0;
  friend bool operator==(const NamedPort&, const NamedPort&) = default;
};
/// The TCP ports in `ports` of a Service's spec, or of an EndpointSlice.
std::vector<NamedPort> read_ports(const boost::json::object& of);

/// An EndpointSlice of discovery.k8s.io/v1 or v1beta1: of what stands behind a Service, a part.
struct EndpointSlice {
  struct Endpoint {
    boost::asio::ip::address address;
    std::string target;  ///< The name of what it is: the pod's.
    bool is_ready = false;
    friend bool operator==(const Endpoint&, const Endpoint&) = default;
  };
  std::string service;  ///< "namespace/name"; "" where it belongs to none.
  std::vector<NamedPort> ports;
  std::vector<Endpoint> endpoints;
  friend bool operator==(const EndpointSlice&, const EndpointSlice&) = default;
};
EndpointSlice read_endpoint_slice(const boost::json::object& object);

}  // namespace culvert::server
