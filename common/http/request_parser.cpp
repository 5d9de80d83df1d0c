// SPDX-License-Identifier: Apache-2.0
#include "common/http/request_parser.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/http/characters.hpp"
#include "common/http/version.hpp"

namespace culvert::http {

RequestParser::RequestParser(Role role, const HeadLimits& limits)
    : role_(role), limits_(limits), lines_(limits.head_bytes_max, limits.line_bytes_max), facts_(limits) {}

void RequestParser::reset() {
  lines_.reset();
  facts_.clear();
  expected_ = Expected::empty_or_request_line;
  head_.method.clear();
  head_.scheme = Scheme::http;
  head_.authority = {};
  head_.path.clear();
  head_.query.clear();
  head_.fields.clear();
  head_.framing = {};
  head_.upgrade.clear();
  head_.expect_continue = head_.accepts_trailers = false;
  hop_ = {};
  flaw_ = nullptr;
}

Parsed RequestParser::parse(std::string_view received) {
  std::string_view line;
  while (flaw_ == nullptr && expected_ != Expected::nothing) {
    switch (lines_.next(received, line)) {
      case HeadLines::Found::need_more: return Parsed::need_more;
      case HeadLines::Found::bad_byte:
        // A handshake record of TLS begins so, and no request does.
        flaw_ = received.front() == '\x16' ? &refusals::tls_client_hello : &refusals::bad_byte;
        break;
      case HeadLines::Found::line_too_long: flaw_ = too_long(); break;
      case HeadLines::Found::head_too_long: flaw_ = &refusals::head_too_long; break;
      case HeadLines::Found::line:
        if (expected_ == Expected::field) {
          flaw_ = line.empty() ? finish() : facts_.take_line(line, head_.fields);
        } else if (line.empty() && expected_ == Expected::empty_or_request_line) {
          // RFC 9112 2.2: some send an empty line behind a body.
          expected_ = Expected::request_line;
        } else {
          flaw_ = take_request_line(line);
          expected_ = Expected::field;
        }
    }
  }
  return flaw_ == nullptr ? Parsed::complete : Parsed::refused;
}

Flaw RequestParser::too_long() const {
  return expected_ == Expected::field ? &refusals::line_too_long : &refusals::uri_too_long;
}

Flaw RequestParser::take_request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == line.npos || first == last) return &refusals::bad_request_line;
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (!is_token(method) || method.size() > limits_.method_bytes_max) return &refusals::bad_request_line;
  if (target.empty() || target.find_first_of(" \t") != target.npos) return &refusals::bad_request_line;
  const auto version = version_of(line.substr(last + 1));
  if (!version) return &refusals::bad_version;
  hop_.version = *version;
  head_.method = method;
  if (const Flaw flaw = parse_target(target, role_, head_)) return flaw;
  // What had to be encoded made it longer.
  return request_line_bytes(head_) > limits_.line_bytes_max ? &refusals::uri_too_long : nullptr;
}

Flaw RequestParser::finish() {
  expected_ = Expected::nothing;
  if (const Flaw flaw = facts_.finish(hop_.version, head_.fields)) return flaw;
  if (const Flaw flaw = take_host()) return flaw;
  if (const Flaw flaw = take_framing()) return flaw;
  hop_.close = hop_.version == Version::http_1_0 || facts_.has_close();
  head_.accepts_trailers = facts_.accepts_trailers() && hop_.version == Version::http_1_1;
  if (hop_.version == Version::http_1_0) return nullptr;
  // RFC 9110 10.1.1: a server ignores Expect in HTTP/1.0. It has nothing to wait for without a body.
  if (const Flaw flaw = facts_.expect_flaw()) return flaw;
  head_.expect_continue = facts_.expects() && head_.framing.kind != Framing::Kind::none;
  // A body and an upgrade at once leave too much room for doubt; RFC 9110 7.8 allows to ignore the upgrade.
  if (head_.framing.kind == Framing::Kind::none && head_.method != "CONNECT") head_.upgrade = facts_.upgrade();
  return nullptr;
}

/// RFC 9112 3.2: exactly one Host, well-formed; none at all in HTTP/1.0 alone. What the target names overrides it
/// (3.2.2), for routing, for access control and for the back end alike.
Flaw RequestParser::take_host() {
  if (!facts_.has_host()) return hop_.version == Version::http_1_0 ? nullptr : &refusals::missing_host;
  auto authority = parse_authority(facts_.host(), default_port(Scheme::http));
  if (!authority) return authority.error();
  if (head_.authority.host.empty()) head_.authority = std::move(*authority);
  return nullptr;
}

Flaw RequestParser::take_framing() {
  const std::uint64_t length = facts_.content_length().value_or(0);
  if (!facts_.is_chunked() && length == 0) return nullptr;
  // RFC 9110 9.3.6 and 9.3.8. A body behind CONNECT would be the first bytes to the target for some, and not for
  // others.
  if (head_.method == "CONNECT" || head_.method == "TRACE") return &refusals::body_not_allowed;
  if (facts_.is_chunked()) {
    hop_.transfer = Transfer::chunked;
    head_.framing.kind = Framing::Kind::unknown;
  } else {
    hop_.transfer = Transfer::length;
    head_.framing = {Framing::Kind::length, length};
  }
  return nullptr;
}

}  // namespace culvert::http
