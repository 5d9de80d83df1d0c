// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "common/http/characters.hpp"

namespace culvert::http {

/// RFC 9110 7.8: a name, or a name, a slash and a version.
inline bool is_upgrade_protocol(std::string_view text) {
  const std::size_t slash = text.find('/');
  return is_token(text.substr(0, slash)) && (slash == text.npos || is_token(text.substr(slash + 1)));
}

/// Protocols that would carry further HTTP requests past every rule (h2c smuggling). They are never forwarded.
inline bool is_unseen_http(std::string_view protocol) {
  const std::string_view name = protocol.substr(0, protocol.find('/'));
  return is_equal_ignoring_case(name, "h2c") || is_equal_ignoring_case(name, "h2") ||
         is_equal_ignoring_case(name, "http") || is_equal_ignoring_case(name, "tls");
}

}  // namespace culvert::http
