// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "common/net/endpoint.hpp"
#include "server/config/gateway_settings.hpp"
#include "server/kubernetes/cluster_secrets.hpp"
#include "server/kubernetes/published_service.hpp"
#include "server/kubernetes/status_write.hpp"
#include "server/targets/destination_definition.hpp"

// From Destination objects and the Secret with the definitions to the ports where the replicas listen, and back to the
// objects' status. Pure: no network, no clock.

namespace culvert::server {

/// The Secret of the server's namespace that has the definitions: an exported destination as each value. Values whose
/// keys end in ".pem" are certificates with keys, which definitions name.
inline constexpr const char* definitions_secret = "culvert-destinations";

/// An object of destinations.destination.connectivity.api.sap/v1.
struct DestinationObject {
  std::string name_space;
  std::string name;
  std::string uid;
  std::string version;  ///< resourceVersion
  std::string created;  ///< RFC 3339, as the API server writes it: texts compare as times do.
  std::int64_t generation = 0;
  std::string destination;  ///< The definition's name; "*": X-Destination-Name of each request names it.
  std::string unsupported;  ///< The first field of the spec that has no meaning here; empty: there is none.
  std::int64_t port = 0;    ///< The Service's; 0: the usual one.
  boost::json::object status;
  bool is_going = false;  ///< Has a deletionTimestamp.

  // NOLINTNEXTLINE(google-explicit-constructor): an object is the owner of what it becomes.
  operator ServiceOwner() const;
  friend bool operator==(const DestinationObject&, const DestinationObject&) = default;
};
DestinationObject read_destination_object(const boost::json::object& object);

/// The definitions in the Secret, as far as ports depend on them.
struct DestinationDefinitions {
  struct Facts {
    std::string flaw;  ///< Why the definition cannot be used; empty: it can.
    DestinationType type = DestinationType::http;
    DestinationProxy proxy = DestinationProxy::internet;
    Endpoint address;  ///< Of the types other than http.
    std::string location;
    friend bool operator==(const Facts&, const Facts&) = default;
  };
  std::string problem;  ///< Why there are none; empty: the Secret has been read.
  std::map<std::string, Facts> by_name;
  friend bool operator==(const DestinationDefinitions&, const DestinationDefinitions&) = default;
};
/// A definition that cannot be used has its key's name, without an extension such as ".json".
DestinationDefinitions read_definitions(const ClusterSecret& secret);

/// One per object, by "namespace/name". The reasons are those of the condition Available.
std::map<std::string, PlannedService> plan_destinations(const std::map<std::string, DestinationObject>& objects,
                                                        const DestinationDefinitions& definitions,
                                                        const GatewaySettings& gateway);

boost::json::object status_of(const DestinationObject& object, const PlannedService& planned,
                              const PublishedFacts& facts, std::string_view now);
/// What an Event reports: why the object is not available, where this write says so for the first time. Nothing for
/// what passes by itself, such as an agent that is not connected.
std::optional<RefusalReason> new_problem(const StatusWrite& write);

}  // namespace culvert::server
