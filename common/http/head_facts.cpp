// SPDX-License-Identifier: Apache-2.0
#include "common/http/head_facts.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "common/http/characters.hpp"
#include "common/http/field_names.hpp"
#include "common/http/upgrade.hpp"

namespace culvert::http {

namespace {

/// How many elements the list has, if each is "chunked"; else 0.
std::size_t times_chunked(std::string_view list) {
  std::size_t times = 0;
  if (list.ends_with(',')) return 0;
  do {
    if (!is_equal_ignoring_case(take_element(list), "chunked")) return 0;
    ++times;
  } while (!list.empty());
  return times;
}

}  // namespace

Flaw split_field_line(std::string_view line, Fields::Field& field) {
  if (is_space(line.front())) return &refusals::folded_field;
  std::size_t colon = 0;
  while (colon < line.size() && is(token_character, line[colon])) ++colon;
  if (colon == 0 || colon == line.size() || line[colon] != ':') return &refusals::bad_field_name;
  field.name = line.substr(0, colon);
  field.value = without_spaces_around(line.substr(colon + 1));
  return nullptr;
}

void HeadFacts::clear() {
  lines_ = options_ = 0;
  content_length_.reset();
  keep_alive_seconds_.reset();
  is_chunked_ = is_doubtful_ = has_host_ = has_proxy_authorization_ = has_expect_ = expect_is_bad_ = false;
  accepts_trailers_ = has_close_ = has_upgrade_option_ = false;
  host_.clear();
  proxy_authorization_.clear();
  upgrade_.clear();
  listed_.clear();
}

Flaw HeadFacts::take_line(std::string_view line, Fields& fields) {
  if (++lines_ > limits_.fields_max) return &refusals::too_many_fields;
  Fields::Field field;
  if (const Flaw flaw = split_field_line(line, field)) return flaw;
  const auto& [name, value] = field;
  switch (hop_field_of(name)) {
    case HopField::none: fields.add(name, value); return nullptr;
    case HopField::dropped: return nullptr;
    case HopField::content_length: return take_content_length(value);
    case HopField::transfer_encoding: return take_transfer_encoding(value);
    case HopField::connection: return take_connection(value);
    case HopField::upgrade: return take_upgrade(value);
    case HopField::te: take_te(value); return nullptr;
    case HopField::keep_alive: take_keep_alive(value); return nullptr;
    case HopField::host:
      if (has_host_) return &refusals::duplicate_host;
      has_host_ = true;
      host_ = value;
      return nullptr;
    case HopField::expect:
      expect_is_bad_ = has_expect_ || !is_equal_ignoring_case(value, "100-continue");
      has_expect_ = true;
      return nullptr;
    case HopField::proxy_authorization:
      if (has_proxy_authorization_) return &refusals::duplicate_field;
      has_proxy_authorization_ = true;
      proxy_authorization_ = value;
      return nullptr;
  }
  return nullptr;
}

/// RFC 9110 8.6 permits reading "5, 5" and two equal lines as one 5.
Flaw HeadFacts::take_content_length(std::string_view value) {
  if (repeated_framing_ == RepeatedFraming::refuse || value.ends_with(',')) return take_length(value);
  do {
    if (const Flaw flaw = take_length(take_element(value))) return flaw;
  } while (!value.empty());
  return nullptr;
}

Flaw HeadFacts::take_length(std::string_view digits) {
  if (content_length_ && repeated_framing_ == RepeatedFraming::refuse) return &refusals::duplicate_content_length;
  constexpr std::size_t digits_max = 19;
  std::uint64_t length = 0;
  if (digits.empty() || digits.size() > digits_max) return &refusals::bad_content_length;
  for (const char c : digits) {
    if (!is_digit(c)) return &refusals::bad_content_length;
    length = length * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (length > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return &refusals::bad_content_length;
  if (content_length_ && *content_length_ != length) return &refusals::duplicate_content_length;
  is_doubtful_ = is_doubtful_ || content_length_.has_value();
  content_length_ = length;
  return nullptr;
}

Flaw HeadFacts::take_transfer_encoding(std::string_view value) {
  if (const std::size_t times = times_chunked(value); times > 0) {
    is_doubtful_ = is_doubtful_ || is_chunked_ || times > 1;
    is_chunked_ = true;
    return is_doubtful_ && repeated_framing_ == RepeatedFraming::refuse ? &refusals::bad_transfer_encoding : nullptr;
  }
  if (is_chunked_) return &refusals::bad_transfer_encoding;
  // A list of tokens with another name in it is a coding that we do not support; anything else is an attempt to hide
  // one.
  bool has_other = false;
  bool has_chunked = false;
  do {
    const std::string_view coding = take_element(value);
    if (!is_token(coding) || has_chunked) return &refusals::bad_transfer_encoding;
    has_chunked = is_equal_ignoring_case(coding, "chunked");
    has_other = has_other || !has_chunked;
  } while (!value.empty());
  return has_other ? &refusals::unknown_coding : &refusals::bad_transfer_encoding;
}

Flaw HeadFacts::take_connection(std::string_view value) {
  while (!value.empty()) {
    const std::string_view option = take_element(value);
    if (option.empty()) continue;
    if (!is_token(option) || ++options_ > limits_.connection_options_max) return &refusals::bad_connection;
    if (is_equal_ignoring_case(option, "close")) {
      has_close_ = true;
    } else if (is_equal_ignoring_case(option, "upgrade")) {
      has_upgrade_option_ = true;
    } else if (!is_equal_ignoring_case(option, "keep-alive")) {
      listed_.append(option).append(1, ',');
    }
  }
  return nullptr;
}

Flaw HeadFacts::take_upgrade(std::string_view value) {
  while (!value.empty()) {
    const std::string_view protocol = take_element(value);
    if (protocol.empty()) continue;
    if (!is_upgrade_protocol(protocol) || ++options_ > limits_.connection_options_max) return &refusals::bad_upgrade;
    if (is_unseen_http(protocol)) continue;
    if (!upgrade_.empty()) upgrade_ += ", ";
    upgrade_ += protocol;
    if (upgrade_.size() > limits_.text_bytes_max) return &refusals::bad_upgrade;
  }
  return nullptr;
}

void HeadFacts::take_te(std::string_view value) {
  // The other codings that TE names are for this hop only, and we use none.
  while (!value.empty()) accepts_trailers_ |= is_equal_ignoring_case(take_element(value), "trailers");
}

void HeadFacts::take_keep_alive(std::string_view value) {
  while (!value.empty()) {
    const std::string_view parameter = take_element(value);
    const std::size_t equals = std::min(parameter.find('='), parameter.size());
    const std::string_view name = without_spaces_around(parameter.substr(0, equals));
    const std::string_view text = without_spaces_around(parameter.substr(std::min(equals + 1, parameter.size())));
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) continue;
    if (is_equal_ignoring_case(name, "timeout")) keep_alive_seconds_ = number;
    if (is_equal_ignoring_case(name, "max") && number == 0) has_close_ = true;
  }
}

Flaw HeadFacts::finish(Version version, Fields& fields) const {
  std::string_view rest = listed_;
  while (!rest.empty()) fields.erase(take_element(rest));
  if (is_chunked_ && version == Version::http_1_0) return &refusals::coding_in_old_version;
  if (is_chunked_ && content_length_ && repeated_framing_ == RepeatedFraming::refuse) return &refusals::two_framings;
  return nullptr;
}

}  // namespace culvert::http
