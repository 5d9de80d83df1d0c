// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <boost/json/object.hpp>

namespace culvert {

/// `status` for people: a line per value, a block per list, an indented line per entry. The same content as the JSON.
std::string status_text(const boost::json::object& status);

/// A summary in one line: "2 tunnels up, 17 streams; server cloud: dial.refused: …".
std::string status_line(const boost::json::object& status);

}  // namespace culvert
