// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/http/authority.hpp"
#include "common/http/fields.hpp"
#include "common/net/endpoint.hpp"

// Parsed messages: a message is parsed once where it enters, checked and routed as these objects, and written anew
// where it leaves. RequestHead and ResponseHead describe the message and are sent through the tunnel; Hop describes the
// connection that the message arrived on, and is not sent.

namespace culvert::http {

/// The length of the body, as the head declares it. Each hop chooses the encoding on its connection (Transfer).
struct Framing {
  enum class Kind : std::uint8_t {
    none,
    length,   ///< Exactly `length` bytes.
    unknown,  ///< The length is known only at the end.
  };
  Kind kind = Kind::none;
  std::uint64_t length = 0;  ///< For Kind::length, else 0. At most 2^63 - 1.
  bool has_body() const { return kind == Kind::unknown || length > 0; }
  friend bool operator==(const Framing&, const Framing&) = default;
};

struct RequestHead {
  std::string method;  ///< A token; case-sensitive.
  Scheme scheme = Scheme::http;
  /// The target's host and port. The host is empty in an HTTP/1.0 request without Host, which only Role::origin
  /// accepts.
  Endpoint authority;
  /// As it came; flaw_of_path() finds no flaw by the rules `all_kept`. "*" for OPTIONS of the whole server; empty for
  /// CONNECT.
  std::string path;
  /// With its question mark, or empty. is_query() is true for the text behind the mark.
  std::string query;
  Fields fields;  ///< End-to-end fields only: hop_field_of() is none for each.
  Framing framing;
  /// The protocols that the client asks to upgrade to, as a list of tokens ("websocket"); empty: none. Never a protocol
  /// that carries further HTTP requests (h2c, TLS): those would bypass every rule.
  std::string upgrade;
  bool expect_continue = false;  ///< Only with a body.
  bool accepts_trailers = false;
  friend bool operator==(const RequestHead&, const RequestHead&) = default;
};

struct ResponseHead {
  int status = 200;    ///< 100 to 599.
  std::string reason;  ///< is_field_value(); often empty.
  Fields fields;       ///< End-to-end fields only.
  /// For an answer to HEAD and for 304: the framing that the body would have, none if it was not declared; no body
  /// follows. For 1xx, 204, and 2xx to CONNECT: none.
  Framing framing;
  /// Status 101: the protocol that the connection switches to. 426: the protocols that the server accepts.
  std::string upgrade;
  friend bool operator==(const ResponseHead&, const ResponseHead&) = default;
};

enum class Version : std::uint8_t { http_1_0, http_1_1 };

/// Encoding of a body on one connection.
enum class Transfer : std::uint8_t {
  none,  ///< No bytes, whatever Framing declares.
  length,
  chunked,
  until_close,
};

/// What a head says about the connection that it arrived on.
struct Hop {
  Version version = Version::http_1_1;
  Transfer transfer = Transfer::none;
  /// The peer will accept or send nothing after this message. Always true for HTTP/1.0.
  bool close = false;
  /// Keep-Alive of a response: the peer closes an idle connection after so many seconds.
  std::optional<std::uint32_t> idle_seconds_max;
  friend bool operator==(const Hop&, const Hop&) = default;
};

/// The parts of a request that determine how its response is parsed.
struct Asked {
  bool is_head = false;
  bool is_connect = false;
  std::string upgrade;  ///< RequestHead::upgrade.
};
inline Asked asked_by(const RequestHead& request) {
  return {request.method == "HEAD", request.method == "CONNECT", request.upgrade};
}

/// Length of the target in origin-form.
inline std::size_t target_bytes(const RequestHead& head) {
  return head.path.size() + head.query.size();
}

inline bool is_interim(int status) {
  return status < 200 && status != 101;
}
/// Whether a response with this status never has a body (RFC 9112 6.3).
inline bool is_bodiless(int status) {
  return status < 200 || status == 204 || status == 304;
}

}  // namespace culvert::http
