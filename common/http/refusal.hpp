// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

// Reasons for refusing a message. A closed list of constants, so that no byte from a peer gets into a text; the parsers
// say beside it which byte or field it is. After a refusal the connection carries no other message.

namespace culvert::http {

struct Refusal {
  /// Status for the client. A refused response always becomes 502, whatever the value here.
  int status = 400;
  /// Stable, listed in docs/errors.md.
  std::string_view code;
  std::string_view text;
  friend bool operator==(const Refusal& one, const Refusal& other) { return one.code == other.code; }
};

/// nullptr if there is nothing to refuse, else one of the constants below, which are never destroyed.
using Flaw = const Refusal*;

namespace refusals {

// The shape of a head (threats B5, B6, B18).
inline constexpr Refusal bad_byte{400, "http.bad_byte",
                                  "a head has a control byte, or a line that does not end in CR and LF"};
inline constexpr Refusal tls_client_hello{
    400, "http.tls_client_hello", "TLS where HTTP is expected: use http://; the connection to the target uses TLS"};
inline constexpr Refusal uri_too_long{414, "http.uri_too_long", "the request line is too long"};
inline constexpr Refusal line_too_long{431, "http.line_too_long", "a field line is too long"};
inline constexpr Refusal head_too_long{431, "http.head_too_long", "the head is too long"};
inline constexpr Refusal too_many_fields{431, "http.too_many_fields", "the head has too many fields"};
inline constexpr Refusal bad_field_name{400, "http.bad_field_name",
                                        "a field's name is not a token with a colon right behind it"};
inline constexpr Refusal folded_field{400, "http.folded_field", "a field line begins with white space"};
inline constexpr Refusal duplicate_field{400, "http.duplicate_field", "a field that must be single occurs twice"};

// The request line and its target (B7, B8, B11, B15).
inline constexpr Refusal bad_request_line{400, "http.bad_request_line",
                                          "not a method, a target and a version with one space between them"};
inline constexpr Refusal bad_version{400, "http.bad_version", "only HTTP/1.1 and HTTP/1.0 are supported"};
inline constexpr Refusal bad_target{400, "http.bad_target", "this form of target is not supported here"};
inline constexpr Refusal https_target{405, "http.https_target",
                                      "https:// is not allowed in a request line: use http://, or CONNECT"};
inline constexpr Refusal misdirected{421, "http.misdirected", "the target names a host that is not here"};
inline constexpr Refusal connect_not_here{405, "http.connect_not_here", "only the proxy port accepts CONNECT"};
inline constexpr Refusal bad_authority{400, "http.bad_authority",
                                       "not a host, or a host and a port from 1 to 65535, without a user name"};
inline constexpr Refusal missing_host{400, "http.missing_host", "the field Host is missing"};
inline constexpr Refusal duplicate_host{400, "http.duplicate_host", "the field Host occurs twice"};
inline constexpr Refusal bad_path{
    400, "http.bad_path", "the path is ambiguous: a bad or doubtful encoding, a backslash, or a hidden dot segment"};
inline constexpr Refusal dot_segment{400, "http.dot_segment",
                                     "the path has a segment \".\" or \"..\": the client must resolve it"};
inline constexpr Refusal encoded_slash{400, "http.encoded_slash", "the path has an encoded slash"};
inline constexpr Refusal encoded_backslash{400, "http.encoded_backslash", "the path has an encoded backslash"};
inline constexpr Refusal path_climbs_out{400, "http.path_climbs_out", "the path climbs above its root"};
inline constexpr Refusal bad_query{400, "http.bad_query", "the query has a byte or an encoding that is not allowed"};

// Framing (B1 to B3, B9).
inline constexpr Refusal bad_content_length{400, "http.bad_content_length",
                                            "Content-Length is not a number of at most 19 digits"};
inline constexpr Refusal duplicate_content_length{400, "http.duplicate_content_length", "Content-Length occurs twice"};
inline constexpr Refusal two_framings{400, "http.two_framings", "both Content-Length and Transfer-Encoding"};
inline constexpr Refusal bad_transfer_encoding{400, "http.bad_transfer_encoding",
                                               "Transfer-Encoding is not exactly chunked"};
inline constexpr Refusal unknown_coding{501, "http.unknown_coding", "a transfer coding other than chunked"};
inline constexpr Refusal coding_in_old_version{400, "http.coding_in_old_version",
                                               "Transfer-Encoding in a message of HTTP/1.0"};
inline constexpr Refusal body_not_allowed{400, "http.body_not_allowed", "a body where none is allowed"};
inline constexpr Refusal bad_connection{400, "http.bad_connection", "Connection is not a list of a few names"};
inline constexpr Refusal bad_upgrade{400, "http.bad_upgrade", "Upgrade is not a list of a few protocols"};
inline constexpr Refusal bad_expect{417, "http.bad_expect", "Expect is something other than 100-continue"};

// Responses (B10, B19).
inline constexpr Refusal bad_status_line{502, "http.bad_status_line", "not a version, a status and a reason"};
inline constexpr Refusal unasked_upgrade{502, "http.unasked_upgrade",
                                         "status 101 for a protocol that was not asked for"};
inline constexpr Refusal too_many_interim{502, "http.too_many_interim",
                                          "more than 64 KiB of interim responses within 10 s"};

// Bodies (B4).
inline constexpr Refusal bad_chunk{400, "http.bad_chunk", "a chunk breaks the grammar"};
inline constexpr Refusal chunk_extension_too_long{400, "http.chunk_extension_too_long",
                                                  "chunk extensions are too long"};
inline constexpr Refusal trailers_too_long{431, "http.trailers_too_long", "the trailer fields are too long"};

// Heads from the tunnel (head_check.hpp).
inline constexpr Refusal bad_head{502, "http.bad_head", "the head from the tunnel breaks a rule"};

}  // namespace refusals
}  // namespace culvert::http
