// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/http/head.hpp"

// Heads written anew from their objects (RFC 9112): not a byte of what was received gets out but through Fields and the
// other members, each of which a parser or flaw_of() has checked. Both append to `out`.

namespace culvert::http {

/// How the body of a request goes to a back end, which is spoken to in HTTP/1.1.
Transfer transfer_of(const RequestHead& head);
/// How the body of a response goes to a client of that version: one of HTTP/1.0 knows no chunks.
Transfer transfer_of(const ResponseHead& head, const Asked& asked, Version client);

enum class AfterThis : std::uint8_t { keep, close };  ///< Whether the head says "Connection: close".

/// In origin-form with Host, for transfer_of(head). The authority is what Host says, without the scheme's own port. Not
/// for CONNECT.
void write_request(std::string& out, const RequestHead& head, AfterThis after);

/// With the framing of `transfer`, which transfer_of() gave; `until_close` always says close. Interim responses are not
/// for clients of HTTP/1.0 (RFC 9110 15.2).
void write_response(std::string& out, const ResponseHead& head, Transfer transfer, AfterThis after);

}  // namespace culvert::http
