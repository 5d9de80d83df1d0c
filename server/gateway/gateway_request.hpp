// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/http/head.hpp"
#include "server/gateway/external_target.hpp"

// What becomes of a request on its way to a target, and of the answer on its way back. Pure.

namespace culvert::server {

/// How a client knows a target.
struct TargetNames {
  Endpoint host;       ///< Of the gateway, as the client named it.
  std::string prefix;  ///< "/shop/orders"
};

/// Makes the request that came for the rest `rest` of a path the one for `target`: its URL, its parameters, and its
/// login; an Access-Token becomes Authorization, and the login of the target is then not used (false).
bool make_request(http::RequestHead& head, const ExternalTarget& target, std::string_view rest, http::Version version);

/// Sets the fields of request parameters; a name may occur several times.
void set_parameters(http::Fields& fields, const http::Fields& parameters);

/// Adds the fields of a grant: each takes the place of those that came, but cookies are added to them.
void add_grant(http::Fields& fields, const http::Fields& grant);

/// Maps a Location in the answer to a request for `request_path` (as it was sent): into the gateway where it leads to
/// the target's own host and base path, otherwise to a whole URL if it has none. Nothing: it stays as it is.
std::optional<std::string> map_location(std::string_view location, std::string_view request_path, const TargetUrl& url,
                                        const TargetNames& names);

/// Methods that may be sent twice without doing more than once (RFC 9110 9.2.2).
bool is_idempotent(std::string_view method);
/// Methods that change something, for which targets want a CSRF token.
bool is_unsafe(std::string_view method);

/// How far a request came before it was refused.
struct SentSoFar {
  std::string_view method;
  bool has_body = false;
  std::uint64_t body_bytes = 0;
  bool is_kept = false;  ///< All of these bytes are there to be sent once more.
};
/// Whether a request that was refused for its grant may be sent once more: only if the target cannot have acted on it,
/// or acting twice is harmless.
bool may_send_again(const SentSoFar& sent);

}  // namespace culvert::server
