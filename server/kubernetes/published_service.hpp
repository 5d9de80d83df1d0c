// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "common/base/error.hpp"
#include "common/net/endpoint.hpp"
#include "server/config/on_premise_port.hpp"
#include "server/kubernetes/object.hpp"
#include "server/kubernetes/replica.hpp"

// The Service and the EndpointSlice that an object of the cluster becomes, and that lead to a port of the replicas.
// Pure: no network, no clock.

namespace culvert::server {

/// The object that a Service and an EndpointSlice belong to; Kubernetes deletes them with it.
struct ServiceOwner {
  std::string api_version;
  std::string kind;
  std::string name_space;
  std::string name;
  std::string uid;
};

/// The outcome of reading an object and comparing it with the others.
struct PlannedService {
  OnPremisePort port;  ///< Its number is 0 until the status has one.
  std::uint16_t service_port = 0;
  std::string reason;  ///< For the condition Accepted: "Accepted", or one word for why the object is refused.
  std::string message;
  bool is_accepted() const { return reason == "Accepted"; }
  friend bool operator==(const PlannedService&, const PlannedService&) = default;
};
/// Gives each accepted object the port that its status has, if it is one of `ports`. Where two have the same port, the
/// older one keeps it. `planned` has the same keys as `objects`.
template <typename Object>
void keep_ports_of(const std::map<std::string, Object>& objects, PortRange ports,
                   std::map<std::string, PlannedService>& planned) {
  std::vector<std::pair<const std::string, Object> const*> by_age;
  by_age.reserve(objects.size());
  for (const auto& entry : objects) by_age.push_back(&entry);
  std::ranges::sort(by_age, {}, [](const auto* each) { return std::tie(each->second.created, each->first); });
  std::set<std::int64_t> taken;
  for (const auto* each : by_age) {
    PlannedService& service = planned.at(each->first);
    const std::int64_t port = number_at(each->second.status, "port");
    const bool is_ours = port >= ports.low && port <= ports.high;
    if (service.is_accepted() && is_ours && taken.insert(port).second)
      service.port.port = static_cast<std::uint16_t>(port);
  }
}

/// The two objects that lead a workload to the replicas' port.
boost::json::object service_of(const ServiceOwner& owner, const PlannedService& planned);
boost::json::object slice_of(const ServiceOwner& owner, const PlannedService& planned,
                             const std::vector<Replica>& replicas, std::string_view version);
std::string slice_name(const ServiceOwner& owner);
/// Whether `object` was made by this program for `by`.
bool is_owned(const boost::json::object& object, const ServiceOwner& by);
/// Whether all of `wanted` is in `actual`, which may have more: the API server adds defaults.
bool has_all(const boost::json::value& actual, const boost::json::value& wanted);

/// A write of a Service or an EndpointSlice.
struct ObjectWrite {
  enum class Kind : std::uint8_t { none, create, patch };
  Kind kind = Kind::none;
  boost::json::object body;  ///< The whole object, or a merge patch.
};
/// The write that makes an object as `wanted`. `actual` is the object of that name as it is now; nullptr: there is
/// none. Code "kubernetes.name_taken": it exists and was not made for `owner`.
Result<ObjectWrite> write_of(const boost::json::object* actual, boost::json::object wanted, const ServiceOwner& owner);
/// The write that takes the endpoints out of an EndpointSlice of `owner`.
ObjectWrite withdrawal_of(const boost::json::object* actual, const ServiceOwner& owner);

/// The state of an accepted object in the cluster.
struct PublishedFacts {
  bool is_published = false;
  std::string reason;   ///< One word for why it is not published.
  std::string why_not;  ///< The same for people.
  bool has_agent = false;
};
}  // namespace culvert::server
