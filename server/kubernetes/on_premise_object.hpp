// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "server/config.hpp"
#include "server/kubernetes/replicas.hpp"
#include "server/on_premise_ports.hpp"

// From OnPremiseService objects to the ports where the replicas listen, to the Service and the EndpointSlice that lead
// there, and back to what their status says. Pure: no network, no clock.

namespace culvert::server {

/// An object of onpremiseservices.culvert.dev/v1alpha1.
struct OnPremiseObject {
  std::string name_space;
  std::string name;
  std::string uid;
  std::string version;  ///< resourceVersion
  std::string created;  ///< RFC 3339, as the API server writes it: texts compare as times do.
  std::int64_t generation = 0;
  std::string account;
  std::string location;
  std::string virtual_host;
  std::int64_t virtual_port = 0;
  std::int64_t port = 0;  ///< Of the Service; 0: the usual one.
  bool is_http = false;
  boost::json::object status;
  bool is_going = false;  ///< Has a deletionTimestamp.
  friend bool operator==(const OnPremiseObject&, const OnPremiseObject&) = default;
};
OnPremiseObject read_on_premise(const boost::json::object& object);

/// What becomes of an object.
struct PlannedService {
  OnPremisePort port;  ///< Its number is 0 until status has one.
  std::uint16_t service_port = 0;
  std::string reason;  ///< Of the condition Accepted: "Accepted", or why not, in one word.
  std::string message;
  bool is_accepted() const { return reason == "Accepted"; }
  friend bool operator==(const PlannedService&, const PlannedService&) = default;
};
/// One per object, by "namespace/name". Of two that have one port the older keeps it.
std::map<std::string, PlannedService> plan_on_premise(const std::map<std::string, OnPremiseObject>& objects,
                                                      const OnPremiseSettings& settings,
                                                      const KubernetesSettings& kubernetes);

/// The free port that is longest not used, so that nobody who is late with the news leads to another's host: the first
/// one behind `last`. 0: none is left.
std::uint16_t free_port(const std::map<std::string, PlannedService>& planned, PortRange ports, std::uint16_t last);

/// The two objects that lead a workload to the replicas' port, as they should be.
boost::json::object service_of(const OnPremiseObject& object, const PlannedService& planned);
boost::json::object slice_of(const OnPremiseObject& object, const PlannedService& planned,
                             const std::vector<Replicas::Replica>& replicas, std::string_view version);
std::string slice_name(const OnPremiseObject& object);
/// Whether `object` is one that we made for this one.
bool is_owned(const boost::json::object& object, const OnPremiseObject& by);
/// Whether all of `wanted` is in `actual`, which may have more: the API server adds defaults.
bool has_all(const boost::json::value& actual, const boost::json::value& wanted);

/// What is known of an accepted object besides.
struct PublishedFacts {
  bool is_published = false;
  std::string reason;  ///< Why not, in one word, and for people.
  std::string why_not;
  bool has_agent = false;
};
boost::json::object status_of(const OnPremiseObject& object, const PlannedService& planned, const PublishedFacts& facts,
                              std::string_view now);

}  // namespace culvert::server
