// SPDX-License-Identifier: Apache-2.0
#include "common/http/response_parser.hpp"

#include <utility>

#include <fmt/core.h>

#include "common/http/characters.hpp"
#include "common/http/version.hpp"

namespace culvert::http {

ResponseParser::ResponseParser()
    : lines_(limits_.head_bytes_max), facts_(limits_, HeadFacts::RepeatedFraming::accept_if_alike) {}

void ResponseParser::begin(Asked asked, const HeadLimits& limits) {
  asked_ = std::move(asked);
  limits_ = limits;
  lines_.set_head_bytes_max(limits.head_bytes_max);
  facts_.set_limits(limits);
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
  detail_.clear();
  is_refused_ = false;
}

Parsed ResponseParser::parse(std::string_view received) {
  std::string_view line;
  Flaw flaw = nullptr;
  while (!is_refused_ && expected_ != Expected::nothing) {
    const std::size_t begin = lines_.used();
    const bool is_field = expected_ == Expected::field;
    // A field line is read to its end, so that the error can name its size.
    switch (lines_.next(received, is_field ? limits_.head_bytes_max : limits_.text_bytes_max, line)) {
      case HeadLines::Found::need_more: return Parsed::need_more;
      case HeadLines::Found::bad_byte:
        flaw = &refusals::bad_byte;
        detail_ = lines_.describe_bad_byte(received);
        break;
      case HeadLines::Found::line_too_long: flaw = &refusals::line_too_long; break;
      case HeadLines::Found::head_too_long:
        flaw = &refusals::head_too_long;
        note_too_long(received.substr(begin, limits_.head_bytes_max - begin));
        break;
      case HeadLines::Found::line:
        if (!is_field) {
          flaw = take_status_line(line);
          expected_ = Expected::field;
        } else if (line.size() > limits_.line_bytes_max) {
          flaw = &refusals::line_too_long;
          note_too_long(line);
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

void ResponseParser::note_too_long(std::string_view line) {
  const std::string_view name = line.substr(0, line.find(':'));
  if (expected_ != Expected::field || name.size() == line.size() || !is_token(name)) return;
  detail_ = fmt::format("{} has {} bytes; the agent's [limits] allow head_line_max = {} and head_max = {}",
                        name.substr(0, 64), line.size(), limits_.line_bytes_max, limits_.head_bytes_max);
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
  // RFC 9112 4 requires the space even without a reason; some servers leave it out.
  if (line.size() > status_end && line[status_end] != ' ') return &refusals::bad_status_line;
  hop_.version = *version;
  head_.status = status;
  if (line.size() > status_end) head_.reason = without_spaces_around(line.substr(status_end));
  return nullptr;
}

Flaw ResponseParser::finish() {
  expected_ = Expected::nothing;
  if (const Flaw flaw = facts_.finish(hop_.version, head_.fields)) return flaw;
  if (const Flaw flaw = take_upgrade()) return flaw;
  if (const Flaw flaw = take_framing()) return flaw;
  hop_.idle_seconds_max = facts_.keep_alive_seconds();
  hop_.close =
      hop_.close || hop_.version == Version::http_1_0 || facts_.has_close() || hop_.transfer == Transfer::until_close;
  return nullptr;
}

/// RFC 9110 15.2.2: a 101 names the protocol that the connection switches to, one of those that were asked for.
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
  // RFC 9112 6.3: chunks override a length.
  const auto length = facts_.is_chunked() ? std::nullopt : facts_.content_length();
  const bool is_declaration = asked_.is_head || head_.status == 304;
  const bool has_framing = facts_.is_chunked() || length.value_or(0) > 0;
  hop_.close = facts_.is_doubtful() || (facts_.is_chunked() && facts_.content_length());
  if (head_.status < 200) return has_framing ? &refusals::body_not_allowed : nullptr;
  // A body may follow although none is allowed: it must not be taken for the next response.
  if (is_bodiless(head_.status)) hop_.close = hop_.close || has_framing;
  if (head_.status == 204) return nullptr;
  if (asked_.is_connect && head_.status < 300) return nullptr;
  if (length) head_.framing = {Framing::Kind::length, *length};
  if (is_declaration) return nullptr;
  hop_.transfer = length ? Transfer::length : facts_.is_chunked() ? Transfer::chunked : Transfer::until_close;
  if (!length) head_.framing.kind = Framing::Kind::unknown;
  return nullptr;
}

}  // namespace culvert::http
