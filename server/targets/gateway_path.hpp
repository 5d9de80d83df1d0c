// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Where a request of a workload leads, by its path at the gateway: /APPLICATION/SERVICE/path or
// /APPLICATION/SERVICE/ENTRY/path. Pure.

namespace culvert::server {

/// The segment that a display name has in a path: ASCII letters in lower case, digits, and one "-" for each run of
/// other bytes, but none at the ends. Empty for a name without letters and digits. Two names may have the same segment.
std::string normal_name(std::string_view display_name);

enum class GatewayPort : std::uint8_t {
  services,  ///< /APPLICATION/SERVICE/path
  entries,   ///< /APPLICATION/SERVICE/ENTRY/path
};

/// Views into the path that was split.
struct GatewayPath {
  std::string_view application;
  std::string_view service;
  std::string_view entry;  ///< Empty on the port of services.
  std::string_view rest;   ///< The target's part, byte for byte: begins with a slash, or is empty.

  friend bool operator==(const GatewayPath&, const GatewayPath&) = default;
};

/// Splits a request's path without its query. Segments are not decoded. Nothing if one of the names is missing or
/// empty: "gateway.path_too_short".
std::optional<GatewayPath> split_gateway_path(std::string_view path, GatewayPort port);

/// The base path of a target's URL with the rest of a request's path behind it: one slash between them, and nothing
/// else changed. "/" if both are empty. Dot segments are not resolved: the caller must have refused them.
std::string join_path(std::string_view base, std::string_view rest);

/// The queries of the target's URL, of the request, and of the request parameters as one, in this order. Each may have
/// its question mark, or not. The result has it, or is empty.
std::string join_query(std::string_view of_url, std::string_view of_request, std::string_view added);

}  // namespace culvert::server
