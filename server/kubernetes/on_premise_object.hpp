// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "common/base/error.hpp"
#include "server/config/config.hpp"
#include "server/config/on_premise_port.hpp"
#include "server/kubernetes/replica.hpp"

// From OnPremiseService objects to the ports where the replicas listen, to the Service and the EndpointSlice that lead
// there, and back to the objects' status. Pure: no network, no clock.

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
  std::int64_t port = 0;  ///< The Service's; 0: the usual one.
  bool is_http = false;
  boost::json::object status;
  bool is_going = false;  ///< Has a deletionTimestamp.
  friend bool operator==(const OnPremiseObject&, const OnPremiseObject&) = default;
};
OnPremiseObject read_on_premise(const boost::json::object& object);

/// The outcome of reading an object and comparing it with the others.
struct PlannedService {
  OnPremisePort port;  ///< Its number is 0 until the status has one.
  std::uint16_t service_port = 0;
  std::string reason;  ///< For the condition Accepted: "Accepted", or one word for why the object is refused.
  std::string message;
  bool is_accepted() const { return reason == "Accepted"; }
  friend bool operator==(const PlannedService&, const PlannedService&) = default;
};
/// One per object, by "namespace/name". Where two have the same port, the older one keeps it.
std::map<std::string, PlannedService> plan_on_premise(const std::map<std::string, OnPremiseObject>& objects,
                                                      const OnPremiseSettings& settings,
                                                      const KubernetesSettings& kubernetes);

/// The two objects that lead a workload to the replicas' port.
boost::json::object service_of(const OnPremiseObject& object, const PlannedService& planned);
boost::json::object slice_of(const OnPremiseObject& object, const PlannedService& planned,
                             const std::vector<Replica>& replicas, std::string_view version);
std::string slice_name(const OnPremiseObject& object);
/// Whether `object` was made by this program for `by`.
bool is_owned(const boost::json::object& object, const OnPremiseObject& by);
/// Whether all of `wanted` is in `actual`, which may have more: the API server adds defaults.
bool has_all(const boost::json::value& actual, const boost::json::value& wanted);

/// A write of an object that belongs to an OnPremiseService.
struct ObjectWrite {
  enum class Kind : std::uint8_t { none, create, patch };
  Kind kind = Kind::none;
  boost::json::object body;  ///< The whole object, or a merge patch.
};
/// The write that makes an object as `wanted`. `actual` is the object of that name as it is now; nullptr: there is
/// none. Code "kubernetes.name_taken": it exists and was not made for `owner`.
Result<ObjectWrite> write_of(const boost::json::object* actual, boost::json::object wanted,
                             const OnPremiseObject& owner);
/// The write that takes the endpoints out of an EndpointSlice of `owner`.
ObjectWrite withdrawal_of(const boost::json::object* actual, const OnPremiseObject& owner);

/// The state of an accepted object in the cluster.
struct PublishedFacts {
  bool is_published = false;
  std::string reason;   ///< One word for why it is not published.
  std::string why_not;  ///< The same for people.
  bool has_agent = false;
};
boost::json::object status_of(const OnPremiseObject& object, const PlannedService& planned, const PublishedFacts& facts,
                              std::string_view now);

}  // namespace culvert::server
