// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace culvert::server {

/// One of status.conditions, as the program thinks of it.
struct Condition {
  std::string_view type;
  bool holds;
  std::string reason;   ///< One word; it is for programs, too.
  std::string message;  ///< For people; empty where it holds.
};

/// All of them and one more, Ready, which holds when they all do and else says why the first one does not.
/// lastTransitionTime stays where a condition's status does: `before` is the status that stands. `now` in RFC 3339.
boost::json::array write_conditions(std::vector<Condition> conditions, const boost::json::object& before,
                                    std::int64_t generation, std::string_view now);

/// The condition of this type in a status; an empty object where there is none.
const boost::json::object& condition_in(const boost::json::object& status, std::string_view type);

}  // namespace culvert::server
