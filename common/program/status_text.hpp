// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <boost/json/object.hpp>

namespace culvert {

/// `status` for people: a line per value, a block per list, an indented line per entry of it. The JSON is for machines;
/// this is the same, to read.
std::string status_text(const boost::json::object& status);

/// The same in one line: "2 tunnels up, 17 streams; server cloud: dial.refused: …".
std::string status_line(const boost::json::object& status);

}  // namespace culvert
