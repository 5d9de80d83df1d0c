// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "common/http/fields.hpp"

// Which names mean something to us. Names are compared as is_alike() does where a field is only taken away, so that
// "Transfer_Encoding" gets past nobody; they count with their hyphens only where a field is obeyed.

namespace culvert::http {

/// Fields that concern one connection or the framing on it, and Host, which is the target's. None of them is ever in
/// Fields of a head: what they say stands in members of it (RFC 9110 7.6.1, threats B17).
enum class HopField : std::uint8_t {
  none,  ///< Any other name: the field travels on.
  host,
  content_length,
  transfer_encoding,
  connection,
  upgrade,
  te,
  expect,
  proxy_authorization,
  /// Nothing but to be taken away: Keep-Alive, Proxy-Connection, Trailer, Proxy-Authenticate, HTTP2-Settings and the
  /// like, and every name that is merely alike to one of the above.
  dropped,
};
HopField hop_field_of(std::string_view name);

/// What only we may say to a back end: Via, Forwarded, X-Forwarded-*, X-Real-IP (threats B16), and what only we are
/// told: SAP-Connectivity-* and SAP-CP-*.
bool is_own_field(std::string_view name);
/// Takes them out. Read first what concerns you.
void erase_own_fields(Fields& fields);

/// What a trailer may not say, since it would come too late or be taken for a header field (RFC 9110 6.5.1): framing,
/// routing, authentication, what the content is, and is_own_field().
bool is_forbidden_in_trailers(std::string_view name);

}  // namespace culvert::http
