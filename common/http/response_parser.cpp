// SPDX-License-Identifier: Apache-2.0
#include "common/http/response_parser.hpp"

#include <utility>

#include "common/http/characters.hpp"
#include "common/http/version.hpp"

namespace culvert::http {

ResponseParser::ResponseParser(const HeadLimits& limits)
    : limits_(limits), lines_(limits.head_bytes_max, limits.line_bytes_max), facts_(limits) {}

void ResponseParser::begin(Asked asked) {
  asked_ = std::move(asked);
  interims_ = 0;
  clear();
}

void ResponseParser::resume() {
  clear();
}

void ResponseParser::clear() {
  lines_.reset();
  facts_.clear();
  expected_ = Expected::status_line;
  head_.status = 200;
  head_.reason.clear();
  head_.fields.clear();
  head_.framing = {};
  head_.upgrade.clear();
  hop_ = {};
  is_refused_ = false;
}

Parsed ResponseParser::parse(std::string_view received) {
  std::string_view line;
  Flaw flaw = nullptr;
  while (!is_refused_ && expected_ != Expected::nothing) {
    switch (lines_.next(received, line)) {
      case HeadLines::Found::need_more: return Parsed::need_more;
      case HeadLines::Found::bad_byte: flaw = &refusals::bad_byte; break;
      case HeadLines::Found::line_too_long: flaw = &refusals::line_too_long; break;
      case HeadLines::Found::head_too_long: flaw = &refusals::head_too_long; break;
      case HeadLines::Found::line:
        if (expected_ == Expected::status_line) {
          flaw = take_status_line(line);
          expected_ = Expected::field;
        } else {
          flaw = line.empty() ? finish() : facts_.take_line(line, head_.fields);
        }
    }
    if (flaw != nullptr) {
      refusal_ = *flaw;
      refusal_.status = 502;
      is_refused_ = true;
    }
  }
  return is_refused_ ? Parsed::refused : Parsed::complete;
}

Flaw ResponseParser::take_status_line(std::string_view line) {
  constexpr std::size_t version_bytes = 8;
  constexpr std::size_t status_end = version_bytes + 4;
  const auto version = version_of(line.substr(0, version_bytes));
  if (!version || line.size() < status_end || line[version_bytes] != ' ') return &refusals::bad_status_line;
  int status = 0;
  for (const char c : line.substr(version_bytes + 1, 3)) {
    if (!is_digit(c)) return &refusals::bad_status_line;
    status = status * 10 + (c - '0');
  }
  if (status < 100 || status > 599) return &refusals::bad_status_line;
  // RFC 9112 4 wants the space even where no reason follows; some leave it out.
  if (line.size() > status_end && line[status_end] != ' ') return &refusals::bad_status_line;
  hop_.version = *version;
  head_.status = status;
  if (line.size() > status_end) head_.reason = without_spaces_around(line.substr(status_end));
  return nullptr;
}

Flaw ResponseParser::finish() {
  expected_ = Expected::nothing;
  if (is_interim(head_.status) && ++interims_ > limits_.interim_responses_max) return &refusals::too_many_interim;
  if (const Flaw flaw = facts_.finish(hop_.version, head_.fields)) return flaw;
  if (const Flaw flaw = take_upgrade()) return flaw;
  if (const Flaw flaw = take_framing()) return flaw;
  hop_.close = hop_.version == Version::http_1_0 || facts_.has_close() || hop_.transfer == Transfer::until_close;
  return nullptr;
}

/// RFC 9110 15.2.2: a 101 names the protocol that is spoken from now on, one of those that were asked for.
Flaw ResponseParser::take_upgrade() {
  if (head_.status == 426) head_.upgrade = facts_.upgrade();
  if (head_.status != 101) return nullptr;
  if (hop_.version != Version::http_1_1) return &refusals::unasked_upgrade;
  std::string_view offered = asked_.upgrade;
  while (!offered.empty()) {
    const std::string_view protocol = take_element(offered);
    if (!is_equal_ignoring_case(protocol, facts_.upgrade())) continue;
    head_.upgrade = protocol;
    return nullptr;
  }
  return &refusals::unasked_upgrade;
}

/// RFC 9112 6.3.
Flaw ResponseParser::take_framing() {
  const auto length = facts_.content_length();
  const bool is_declaration = asked_.is_head || head_.status == 304;
  if (head_.status < 200 || head_.status == 204) {
    return facts_.is_chunked() || length.value_or(0) > 0 ? &refusals::body_not_allowed : nullptr;
  }
  if (asked_.is_connect && head_.status < 300) return nullptr;
  if (length) head_.framing = {Framing::Kind::length, *length};
  if (is_declaration) return nullptr;
  hop_.transfer = length ? Transfer::length : facts_.is_chunked() ? Transfer::chunked : Transfer::until_close;
  if (!length) head_.framing.kind = Framing::Kind::unknown;
  return nullptr;
}

}  // namespace culvert::http
