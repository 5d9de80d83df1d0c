// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/http/head.hpp"

// Writes heads from their objects (RFC 9112): received bytes are sent only as Fields and other members, which a parser
// or flaw_of() has checked. Both functions append to `out`.

namespace culvert::http {

/// Encoding of a request's body to a back end, which gets HTTP/1.1.
Transfer transfer_of(const RequestHead& head);
/// Encoding of a response's body to a client of that version: HTTP/1.0 has no chunks.
Transfer transfer_of(const ResponseHead& head, const Asked& asked, Version client);

enum class AfterThis : std::uint8_t { keep, close };  ///< Whether the head says "Connection: close".

/// Writes the head in origin-form with Host, for transfer_of(head). Host is the authority, without the scheme's default
/// port. Not for CONNECT.
void write_request(std::string& out, const RequestHead& head, AfterThis after);

/// Writes the head with the framing of `transfer`, which must come from transfer_of(); `until_close` always adds
/// "Connection: close". Do not send interim responses to clients of HTTP/1.0 (RFC 9110 15.2).
void write_response(std::string& out, const ResponseHead& head, Transfer transfer, AfterThis after);

}  // namespace culvert::http
