// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/base/error.hpp"
#include "common/http/authority.hpp"
#include "common/net/endpoint.hpp"

namespace culvert::server {

/// The URL of a target, to which requests' paths and queries are added.
struct TargetUrl {
  http::Scheme scheme = http::Scheme::https;
  Endpoint server;
  std::string path;   ///< The base path as written, or empty.
  std::string query;  ///< With its question mark, or empty.

  friend bool operator==(const TargetUrl&, const TargetUrl&) = default;
};

/// Reads http:// or https://host[:port]/path?query without user and fragment. Paths with dot segments are refused, and
/// so are all others that back ends read differently. Code "config.malformed"; the text does not repeat the URL.
Result<TargetUrl> parse_target_url(std::string_view text);

}  // namespace culvert::server
