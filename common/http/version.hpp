// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "common/http/head.hpp"

namespace culvert::http {

/// Compares exactly (RFC 9112 2.3): no other version and no other case is accepted.
inline std::optional<Version> version_of(std::string_view text) {
  if (text == "HTTP/1.1") return Version::http_1_1;
  if (text == "HTTP/1.0") return Version::http_1_0;
  return std::nullopt;
}

}  // namespace culvert::http
