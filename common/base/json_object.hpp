// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <boost/json/value.hpp>

namespace culvert {

/// Parses a JSON object of at most `elements_max` and 8 levels, in which no name occurs twice at any level. Nothing for
/// any other text.
std::optional<boost::json::value> parse_object(std::string_view text, std::size_t elements_max);

}  // namespace culvert
