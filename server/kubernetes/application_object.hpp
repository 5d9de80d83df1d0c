// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "server/kubernetes/cluster_secrets.hpp"
#include "server/targets/target_description.hpp"

// From Application objects of Kyma to targets of the gateway, and to what their statuses say. Pure: no network, no
// clock.

namespace culvert::server {

/// An entry of type API, as written.
struct ApplicationEntry {
  struct Credentials {
    std::string type;
    std::string secret;  ///< Its name.
    std::string token_url;
    std::string csrf_url;
    friend bool operator==(const Credentials&, const Credentials&) = default;
  };
  std::string name;  ///< Empty: the service's display name.
  std::string url;
  std::optional<Credentials> credentials;
  std::string parameters_secret;  ///< Name of the Secret with request parameters.
  friend bool operator==(const ApplicationEntry&, const ApplicationEntry&) = default;
};

struct ApplicationService {
  std::string id;
  std::string display_name;
  std::vector<ApplicationEntry> entries;  ///< Those of type API.
  friend bool operator==(const ApplicationService&, const ApplicationService&) = default;
};

/// What determines an object's targets.
struct ApplicationSpec {
  std::string name;  ///< The object's.
  bool skip_verify = false;
  std::map<std::string, std::string, std::less<>> annotations;  ///< Those that begin with "culvert.dev/".
  std::vector<ApplicationService> services;
  friend bool operator==(const ApplicationSpec&, const ApplicationSpec&) = default;
};

/// An object of applications.applicationconnector.kyma-project.io/v1alpha1.
struct ApplicationObject {
  std::string uid;
  std::string version;  ///< resourceVersion
  std::int64_t generation = 0;
  ApplicationSpec spec;
  boost::json::object status;
  bool is_going = false;  ///< Has a deletionTimestamp.
  friend bool operator==(const ApplicationObject&, const ApplicationObject&) = default;
};
ApplicationObject read_application(const boost::json::object& object);

/// The Secrets that the entries need.
std::set<std::string> secrets_of(const ApplicationSpec& spec);

/// What the server's configuration says about Applications.
struct ApplicationRules {
  bool allow_skip_verify = false;
  std::vector<std::string> accounts;  ///< Accounts that an annotation may name; "*": any.
  std::string name_space;             ///< Of the Secrets.
  std::string gateway_host;           ///< Host name of the gateway's Service, for status.gateway.
};

/// Something that is wrong with an object.
struct ApplicationProblem {
  std::string reason;   ///< One word, which programs may compare.
  std::string message;  ///< With the service and the entry, and without values of Secrets.
  friend bool operator==(const ApplicationProblem&, const ApplicationProblem&) = default;
};
/// What an object's status says.
struct ApplicationReport {
  std::vector<ApplicationProblem> problems;         ///< Of the object itself, for the condition Accepted.
  std::vector<ApplicationProblem> secret_problems;  ///< Of Secrets, for the condition SecretsFound.
  bool skips_verify = false;
  boost::json::array gateway;  ///< The URLs of the entries at the gateway.
  friend bool operator==(const ApplicationReport&, const ApplicationReport&) = default;
};

struct PlannedApplication {
  std::vector<NamedTarget> targets;
  ApplicationReport report;
};
/// A problem of one entry makes that entry's target unusable, and no other. A Secret that is not read yet is a problem
/// of the target, but not one that the report has.
PlannedApplication plan_application(const ApplicationSpec& spec, const ClusterSecrets& secrets,
                                    const ApplicationRules& rules);

/// The object's status as it should be. Members that we do not write stay. `now` in RFC 3339.
boost::json::object application_status(const ApplicationObject& object, const ApplicationReport& report,
                                       std::string_view now);

}  // namespace culvert::server
