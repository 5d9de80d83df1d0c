// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/http/authority.hpp"
#include "common/http/fields.hpp"
#include "common/net/endpoint.hpp"

// A message as it is understood: parsed once where it enters, decided on and routed as these objects, and written anew
// where it leaves. What a head says about its message stands in RequestHead and ResponseHead, which travel through the
// tunnel; what it says about the connection that it came on stands in Hop, which does not.

namespace culvert::http {

/// What the head declares about the body. How the bytes lie on a wire is each hop's own matter (Transfer).
struct Framing {
  enum class Kind : std::uint8_t {
    none,
    length,   ///< Exactly `length` bytes.
    unknown,  ///< It ends when it ends.
  };
  Kind kind = Kind::none;
  std::uint64_t length = 0;  ///< Of Kind::length only, else 0. At most 2^63 - 1.
  friend bool operator==(const Framing&, const Framing&) = default;
};

struct RequestHead {
  std::string method;  ///< A token; case counts.
  Scheme scheme = Scheme::http;
  /// Who is asked. The host is empty in a request of HTTP/1.0 without Host, which only Role::origin takes.
  Endpoint authority;
  /// In the form of append_canonical_path(), with encoded slashes kept; "*" for OPTIONS of the whole server, empty for
  /// CONNECT.
  std::string path;
  /// With its question mark, or empty. is_query() holds behind the mark.
  std::string query;
  Fields fields;    ///< End-to-end ones only: hop_field_of() is none for each.
  Framing framing;  ///< Content-Length: 0 is none.
  /// The protocols that an upgrade is asked for to, as a list of tokens ("websocket"); empty: none. Never one under
  /// which more HTTP requests would come (h2c, TLS): no rule would see those.
  std::string upgrade;
  bool expect_continue = false;  ///< Only with a body.
  bool accepts_trailers = false;
  friend bool operator==(const RequestHead&, const RequestHead&) = default;
};

struct ResponseHead {
  int status = 200;    ///< 100 to 599.
  std::string reason;  ///< is_field_value(); often empty.
  Fields fields;       ///< As in a request.
  /// Of an answer to HEAD and of a 304: what the body would be, none when it was not said; no body follows in either
  /// case. Of 1xx, 204 and of 2xx to CONNECT: none.
  Framing framing;
  std::string upgrade;  ///< Status 101: the protocol that the connection speaks from now on. 426: those it might.
  friend bool operator==(const ResponseHead&, const ResponseHead&) = default;
};

enum class Version : std::uint8_t { http_1_0, http_1_1 };

/// How the bytes of a body lie on one connection.
enum class Transfer : std::uint8_t {
  none,  ///< There are none, whatever Framing declares.
  length,
  chunked,
  until_close,
};

/// What a head said about the connection that it came on.
struct Hop {
  Version version = Version::http_1_1;
  Transfer transfer = Transfer::none;
  bool close = false;  ///< The peer will take or send nothing behind this message. Always true of HTTP/1.0.
  friend bool operator==(const Hop&, const Hop&) = default;
};

/// What of a request decides how its response is to be understood.
struct Asked {
  bool is_head = false;
  bool is_connect = false;
  std::string upgrade;  ///< RequestHead::upgrade.
};
inline Asked asked_by(const RequestHead& request) {
  return {request.method == "HEAD", request.method == "CONNECT", request.upgrade};
}

/// How long its line is in origin-form.
inline std::size_t request_line_bytes(const RequestHead& head) {
  return head.method.size() + head.path.size() + head.query.size() + std::string_view("  HTTP/1.1").size();
}

inline bool is_interim(int status) {
  return status < 200 && status != 101;
}
/// Whether the status says that there is no body, to whatever request (RFC 9112 6.3).
inline bool is_bodiless(int status) {
  return status < 200 || status == 204 || status == 304;
}

}  // namespace culvert::http
