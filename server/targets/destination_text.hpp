// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/secret_file.hpp"

// The two forms of an exported destination: a flat JSON object, or the format of java.util.Properties. Pure. The code
// of all errors is "gateway.bad_destination"; no text shows a value.

namespace culvert::server {

inline constexpr std::size_t destination_bytes_max = std::size_t{64} << 10;
inline constexpr std::size_t destination_properties_max = 200;
inline constexpr std::size_t export_bytes_max = std::size_t{4} << 20;

/// Any value may be a secret, since the names are free.
struct DestinationProperty {
  std::string name;
  Secret value;
};
/// In the order of the text, without duplicates.
using DestinationProperties = std::vector<DestinationProperty>;

/// Reads one destination in either form. JSON's numbers and booleans become their text, and null is left out.
Result<DestinationProperties> read_destination_properties(std::string_view text);

/// One destination of an export. The text is a secret.
struct ExportedDestination {
  std::string name;  ///< As exported; it may be invalid.
  std::string text;  ///< For read_destination(), as JSON.
};
/// Finds the destinations of a JSON export in their order: one object, an array, or objects and arrays in which they
/// are nested, such as {"subaccount": {"destinations": […]}}. A destination is an object with a Name. An error if there
/// is none.
Result<std::vector<ExportedDestination>> split_export(std::string_view json);

/// Whether a text is JSON rather than properties.
bool is_json_export(std::string_view text);

}  // namespace culvert::server
