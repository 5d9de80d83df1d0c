// SPDX-License-Identifier: Apache-2.0
#include "common/http/request_parser.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/http/characters.hpp"
#include "common/http/path.hpp"
#include "common/http/version.hpp"

namespace culvert::http {

RequestParser::RequestParser(Role role, const HeadLimits& limits)
    : role_(role), limits_(limits), lines_(limits.head_bytes_max), facts_(limits) {}

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
  is_target_absolute_ = false;
  host_ = {};
  hop_ = {};
  flaw_ = nullptr;
  refused_byte_.clear();
}

Parsed RequestParser::parse(std::string_view received) {
  std::string_view line;
  while (flaw_ == nullptr && expected_ != Expected::nothing) {
    const bool is_field = expected_ == Expected::field;
    switch (lines_.next(received, is_field ? limits_.line_bytes_max : limits_.request_line_bytes_max, line)) {
      case HeadLines::Found::need_more: return Parsed::need_more;
      case HeadLines::Found::bad_byte:
        // A TLS handshake record begins with this byte, and no request does.
        flaw_ = received.front() == '\x16' ? &refusals::tls_client_hello : &refusals::bad_byte;
        refused_byte_ = lines_.describe_bad_byte(received);
        break;
      case HeadLines::Found::line_too_long:
        flaw_ = is_field ? &refusals::line_too_long : &refusals::uri_too_long;
        break;
      case HeadLines::Found::head_too_long: flaw_ = &refusals::head_too_long; break;
      case HeadLines::Found::line:
        if (is_field) {
          flaw_ = line.empty() ? finish() : facts_.take_line(line, head_.fields);
        } else if (line.empty() && expected_ == Expected::empty_or_request_line) {
          // RFC 9112 2.2: some clients send an empty line after a body.
          expected_ = Expected::request_line;
        } else {
          flaw_ = take_request_line(line);
          if (flaw_ == &refusals::bad_request_line || flaw_ == &refusals::bad_path) note_refused_byte(line);
          expected_ = Expected::field;
        }
    }
  }
  return flaw_ == nullptr ? Parsed::complete : Parsed::refused;
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
  const Flaw flaw = parse_target(target, role_, head_);
  is_target_absolute_ = !head_.authority.host.empty();
  if (flaw == nullptr && target_bytes(head_) > limits_.target_bytes_max) return &refusals::uri_too_long;
  return flaw;
}

/// For a target with a blank in it, or with a byte that no path may have.
void RequestParser::note_refused_byte(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == line.npos || first == last) return;
  std::size_t at = line.find_first_of(" \t", first + 1);
  if (flaw_ == &refusals::bad_path) {
    const std::size_t in_path = bad_byte_of_path(head_.path);
    at = in_path < head_.path.size() ? line.find(head_.path, first + 1) + in_path : last;
  }
  if (at < last) refused_byte_ = describe_byte(line[at], at, lines_.count());
}

Flaw RequestParser::finish() {
  expected_ = Expected::nothing;
  if (const Flaw flaw = facts_.finish(hop_.version, head_.fields)) return flaw;
  if (const Flaw flaw = take_host()) return flaw;
  if (const Flaw flaw = take_framing()) return flaw;
  hop_.close = hop_.version == Version::http_1_0 || facts_.has_close();
  head_.accepts_trailers = facts_.accepts_trailers() && hop_.version == Version::http_1_1;
  if (hop_.version == Version::http_1_0) return nullptr;
  // RFC 9110 10.1.1: a server ignores Expect in HTTP/1.0. Without a body Expect has no effect.
  if (const Flaw flaw = facts_.expect_flaw()) return flaw;
  head_.expect_continue = facts_.expects() && head_.framing.has_body();
  // A request with both a body and an upgrade is ambiguous; RFC 9110 7.8 permits ignoring the upgrade.
  if (!head_.framing.has_body() && head_.method != "CONNECT") head_.upgrade = facts_.upgrade();
  return nullptr;
}

/// RFC 9112 3.2: exactly one well-formed Host; only HTTP/1.0 may have none. The target's authority overrides it
/// (3.2.2), for routing, for access control and for the back end.
Flaw RequestParser::take_host() {
  if (!facts_.has_host()) return hop_.version == Version::http_1_0 ? nullptr : &refusals::missing_host;
  auto authority = parse_authority(facts_.host(), default_port(Scheme::http));
  if (!authority) return authority.error();
  host_ = std::move(*authority);
  if (!is_target_absolute_) head_.authority = host_;
  return nullptr;
}

Flaw RequestParser::take_framing() {
  const std::uint64_t length = facts_.content_length().value_or(0);
  if (!facts_.is_chunked() && !facts_.content_length()) return nullptr;
  if (head_.method == "CONNECT" || head_.method == "TRACE") {
    // RFC 9110 9.3.6 and 9.3.8. Programs disagree whether a body behind CONNECT is sent to the target.
    return facts_.is_chunked() || length > 0 ? &refusals::body_not_allowed : nullptr;
  }
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
