// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/http/authority.hpp"
#include "common/http/fields.hpp"
#include "common/net/endpoint.hpp"

// A back end names itself in what it answers; the consumer knows it by its virtual name only (contracts 5).

namespace culvert::http {

struct Names {
  Scheme internal_scheme = Scheme::http;  ///< How the back end is spoken to.
  Endpoint internal;
  Endpoint outside;  ///< The virtual host and port; reached by http always.
};

/// Location or Content-Location with the internal authority, or with the virtual one under the back end's scheme: the
/// same with "http" and the virtual authority. nullopt: it is relative or speaks of somebody else, and stays.
std::optional<std::string> map_location(std::string_view location, const Names& names);

/// Set-Cookie with a Domain that the internal host belongs to: the same with the virtual host. nullopt: it stays.
std::optional<std::string> map_cookie(std::string_view cookie, const Names& names);

/// All of these fields of a response.
void map_back(Fields& fields, const Names& names);

}  // namespace culvert::http
