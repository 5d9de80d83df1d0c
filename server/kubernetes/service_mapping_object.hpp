// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "server/config/config.hpp"

// From ServiceMapping objects, whose definition is SAP's (docs/kubernetes.md), to the table that the tunnels use, and
// back to the objects' status. Pure: no network, no clock.

namespace culvert::server {

/// An object of servicemappings.connectivityproxy.sap.com/v1.
struct ServiceMappingObject {
  std::string name;
  std::string uid;
  std::string version;  ///< resourceVersion
  std::string created;  ///< RFC 3339, as the API server writes it: texts compare as times do.
  std::int64_t generation = 0;
  std::string account;  ///< spec.subaccountId; may be empty.
  std::string type;
  std::string service_id;
  std::string internal_address;
  std::vector<std::string> locations{""};
  boost::json::object status;
  bool is_going = false;  ///< Has a deletionTimestamp.
  friend bool operator==(const ServiceMappingObject&, const ServiceMappingObject&) = default;
};
ServiceMappingObject read_service_mapping(const boost::json::object& object);

/// spec.internalAddress in any of its spellings: svc.ns:port, svc.ns.svc:port, svc.ns.svc.cluster.local:port. The port
/// is a number or a name. An IP address only if the setting allow_address_targets is true.
struct InternalAddress {
  std::string host;        ///< The name to look up, "svc.ns.svc.cluster.local", or an address.
  std::string service;     ///< "ns/svc"; empty for an address.
  std::uint16_t port = 0;  ///< 0: port_name names it.
  std::string port_name;
  friend bool operator==(const InternalAddress&, const InternalAddress&) = default;
};
/// The error is a sentence for people.
std::expected<InternalAddress, std::string> parse_internal_address(std::string_view text,
                                                                   const KubernetesSettings& settings);

/// The outcome of reading an object and comparing it with the others.
struct PlannedMapping {
  std::string key;  ///< The object's name.
  std::optional<InternalAddress> target;
  ServiceMapping mapping;  ///< Its port may still be 0.
  std::string reason;      ///< For the condition Accepted: "Accepted", or one word for why the object is refused.
  std::string message;
  bool is_accepted() const { return reason == "Accepted"; }
};
/// One for each object, the oldest first. Where two claim the same service of an account and location, the older one
/// has it.
std::vector<PlannedMapping> plan_service_mappings(const std::map<std::string, ServiceMappingObject>& objects,
                                                  const KubernetesSettings& settings);

/// The state of an accepted mapping's target and agent.
struct MappingFacts {
  bool is_resolved = false;
  std::string why_not;  ///< Why it is not resolved, for people.
  bool has_agent = false;
  friend bool operator==(const MappingFacts&, const MappingFacts&) = default;
};
/// The whole status. Equal to the object's present one if nothing has changed. `now` in RFC 3339.
boost::json::object status_of(const ServiceMappingObject& object, const PlannedMapping& planned,
                              const MappingFacts& facts, const KubernetesSettings& settings, std::string_view now);

}  // namespace culvert::server
