// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace culvert::server {

/// One of status.conditions, before it is written.
struct Condition {
  std::string_view type;
  bool holds;
  std::string reason;   ///< One word, which programs may compare.
  std::string message;  ///< For people; empty if the condition holds.
};

/// The conditions in the form of Kubernetes, and one more, Ready: it holds if all others do, and otherwise has the
/// reason of the first that does not. lastTransitionTime changes only with a condition's status: `before` is the
/// object's present status. `now` in RFC 3339.
boost::json::array write_conditions(std::vector<Condition> conditions, const boost::json::object& before,
                                    std::int64_t generation, std::string_view now);

/// The condition of this type in a status; an empty object where there is none.
const boost::json::object& condition_in(const boost::json::object& status, std::string_view type);

}  // namespace culvert::server
