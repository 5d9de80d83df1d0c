// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/http/authority.hpp"
#include "common/http/fields.hpp"
#include "common/net/endpoint.hpp"

// Maps a back end's own name in its responses to the virtual name, the only one that the consumer knows
// (docs/contracts.md 5).

namespace culvert::http {

struct Names {
  Scheme internal_scheme = Scheme::http;  ///< Scheme of requests to the back end.
  Endpoint internal;
  Endpoint outside;  ///< The virtual host and port; always with scheme http.
  /// Whether Secure is taken off cookies of an https back end: the client asks by http, and would not send them.
  bool strips_secure = false;
};

/// Maps Location or Content-Location: replaces the internal authority, or the virtual one under the back end's scheme,
/// by "http" and the virtual authority. nullopt: it is relative or names another host, and is left unchanged.
std::optional<std::string> map_location(std::string_view location, const Names& names);

/// Maps Set-Cookie: a Domain that the internal host belongs to becomes the virtual host, or is left out where clients
/// would refuse that (a host without a dot, an address). Takes off Secure, and SameSite=None, which requires it, if
/// `names` says so; a name that begins with __Secure- or __Host- requires it too, so that clients refuse such a cookie.
/// nullopt: it is left unchanged.
std::optional<std::string> map_cookie(std::string_view cookie, const Names& names);

/// Maps all of these fields of a response.
void map_back(Fields& fields, const Names& names);

}  // namespace culvert::http
