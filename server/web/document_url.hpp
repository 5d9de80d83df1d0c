// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/http/authority.hpp"
#include "common/net/endpoint.hpp"

namespace culvert::server {

/// The URL of a document that the server itself fetches.
struct DocumentUrl {
  http::Scheme scheme = http::Scheme::https;
  Endpoint server;
  std::string path = "/";  ///< In canonical form, with encoded slashes kept.
  std::string query;       ///< With its question mark, or empty.

  bool is_secure() const { return scheme == http::Scheme::https; }
  friend bool operator==(const DocumentUrl&, const DocumentUrl&) = default;
};

/// Reads https://host[:port]/path?query without user and fragment. http:// is accepted for loopback hosts only. The
/// error's code is "config.malformed".
Result<DocumentUrl> parse_document_url(std::string_view text);

}  // namespace culvert::server
