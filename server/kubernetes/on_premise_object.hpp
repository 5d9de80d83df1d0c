// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "server/config/config.hpp"
#include "server/kubernetes/published_service.hpp"

// From OnPremiseService objects to the ports where the replicas listen, and back to the objects' status. Pure: no
// network, no clock.

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

  // NOLINTNEXTLINE(google-explicit-constructor): an object is the owner of what it becomes.
  operator ServiceOwner() const { return {"culvert.dev/v1alpha1", "OnPremiseService", name_space, name, uid}; }
  friend bool operator==(const OnPremiseObject&, const OnPremiseObject&) = default;
};
OnPremiseObject read_on_premise(const boost::json::object& object);

/// One per object, by "namespace/name". Where two have the same port, the older one keeps it.
std::map<std::string, PlannedService> plan_on_premise(const std::map<std::string, OnPremiseObject>& objects,
                                                      const OnPremiseSettings& settings,
                                                      const KubernetesSettings& kubernetes);

boost::json::object status_of(const OnPremiseObject& object, const PlannedService& planned, const PublishedFacts& facts,
                              std::string_view now);

}  // namespace culvert::server
