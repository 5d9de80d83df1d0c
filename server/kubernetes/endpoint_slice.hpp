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
  std::string name;  ///< Empty only if it is the only port.
  std::uint16_t port = 0;
  friend bool operator==(const NamedPort&, const NamedPort&) = default;
};
/// The TCP ports in member `ports` of a Service's spec or of an EndpointSlice.
std::vector<NamedPort> read_ports(const boost::json::object& object);

/// A Service, as far as streams to it are concerned.
struct ClusterService {
  std::vector<NamedPort> ports;
  bool is_external_name = false;  ///< A name of the cluster's DNS for another name; it has no endpoints.
  friend bool operator==(const ClusterService&, const ClusterService&) = default;
};
ClusterService read_service(const boost::json::object& object);

/// An EndpointSlice of discovery.k8s.io/v1 or v1beta1: part of a Service's endpoints.
struct EndpointSlice {
  struct Endpoint {
    boost::asio::ip::address address;
    std::string target;  ///< The name of the pod.
    bool is_ready = false;
    bool is_leaving = false;  ///< It terminates and still serves: for a Service without a ready endpoint.
    friend bool operator==(const Endpoint&, const Endpoint&) = default;
  };
  std::string service;  ///< "namespace/name"; empty if the slice belongs to no Service.
  std::vector<NamedPort> ports;
  std::vector<Endpoint> endpoints;
  friend bool operator==(const EndpointSlice&, const EndpointSlice&) = default;
};
EndpointSlice read_endpoint_slice(const boost::json::object& object);

}  // namespace culvert::server
