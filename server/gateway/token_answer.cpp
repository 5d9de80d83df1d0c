// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/token_answer.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include <boost/json/object.hpp>
#include <fmt/core.h>

#include "common/base/json_object.hpp"
#include "common/http/characters.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::size_t elements_max = 500;
constexpr std::size_t error_word_bytes_max = 64;

/// RFC 6749 5.2: printable ASCII without the quotation mark and the backslash.
bool is_error_word(std::string_view text) {
  return !text.empty() && text.size() <= error_word_bytes_max &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
}

/// RFC 6750 2.1: b64token.
bool is_bearer_token(std::string_view text) {
  const std::size_t end = text.find_last_not_of('=');
  if (end == text.npos || text.size() > access_token_bytes_max) return false;
  return std::ranges::all_of(text.substr(0, end + 1),
                             [](char c) { return http::is(http::unreserved_character, c) || c == '+' || c == '/'; });
}

/// nullptr: there is none, or it is null.
const json::value* member_of(const json::object& answer, std::string_view name) {
  const json::value* member = answer.if_contains(name);
  return member == nullptr || member->is_null() ? nullptr : member;
}

std::optional<std::string_view> text_of(const json::object& answer, std::string_view name) {
  const json::value* member = member_of(answer, name);
  if (member == nullptr || !member->is_string()) return std::nullopt;
  return std::string_view(member->get_string());
}

std::chrono::seconds at_most_a_day(std::uint64_t seconds) {
  const auto longest = static_cast<std::uint64_t>(access_token_lifetime_max.count());
  return std::chrono::seconds(std::min(seconds, longest));
}

/// Some servers send a text of digits, or a number with a fraction. Nothing for anything else.
std::optional<std::chrono::seconds> lifetime_of(const json::value& expires_in) {
  if (const auto* whole = expires_in.if_uint64()) return at_most_a_day(*whole);
  if (const auto* whole = expires_in.if_int64()) {
    if (*whole < 0) return std::nullopt;
    return at_most_a_day(static_cast<std::uint64_t>(*whole));
  }
  if (const auto* real = expires_in.if_double()) {
    if (!(*real >= 0)) return std::nullopt;
    const auto longest = static_cast<double>(access_token_lifetime_max.count());
    return at_most_a_day(static_cast<std::uint64_t>(std::min(*real, longest)));
  }
  if (!expires_in.is_string()) return std::nullopt;
  const std::string_view text = expires_in.get_string();
  if (text.empty() || !std::ranges::all_of(text, http::is_digit)) return std::nullopt;
  std::uint64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  return error == std::errc() ? at_most_a_day(seconds) : access_token_lifetime_max;
}

std::unexpected<Error> failed(int status, std::string_view what) {
  return fail("gateway.token_failed", fmt::format("the token service answered {}, {}", status, what));
}

Result<AccessToken> read_success(int status, const json::object& answer) {
  const auto text = text_of(answer, "access_token");
  if (!text) return failed(status, "without an access_token; check the URL of the token service");
  if (!is_bearer_token(*text))
    return failed(status, "with an access_token that is too long or that no header field can carry");
  if (const json::value* type = member_of(answer, "token_type");
      type != nullptr && !(type->is_string() && http::is_equal_ignoring_case(type->get_string(), "bearer")))
    return failed(status, "with a token_type other than Bearer, which is the only one that is supported");
  AccessToken token{std::string(*text), access_token_lifetime_default};
  if (const json::value* expires_in = member_of(answer, "expires_in")) {
    const auto lifetime = lifetime_of(*expires_in);
    if (!lifetime) return failed(status, "with an expires_in that is not a number of seconds");
    token.lifetime = *lifetime;
  }
  return token;
}

}  // namespace

Result<AccessToken> read_token_answer(int status, std::string_view body) {
  if (body.size() > token_answer_bytes_max) return failed(status, "with more than 64 KiB");
  const auto answer = parse_object(body, elements_max);
  // A few servers send errors with status 200.
  if (const auto word = answer ? text_of(answer->get_object(), "error") : std::nullopt; word && is_error_word(*word))
    return failed(status, fmt::format("error \"{}\"", *word));
  if (status < 200 || status > 299) return failed(status, "without an error code of OAuth 2.0");
  if (!answer) return failed(status, "and the body is not a JSON object; check the URL of the token service");
  return read_success(status, answer->get_object());
}

std::string form_encoded(std::string_view text) {
  std::string encoded;
  encoded.reserve(3 * text.size());  // Never moves, so that no copy of a secret stays behind.
  for (const char c : text) {
    if (c == ' ') {
      encoded += '+';
    } else if (http::is(http::unreserved_character, c) && c != '~') {
      encoded += c;
    } else {
      constexpr std::string_view digits = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return encoded;
}

std::string client_form(std::span<const FormField> fields) {
  std::string form;
  for (const auto& [name, value] : fields) {
    if (value.empty()) continue;
    if (!form.empty()) form += '&';
    form += form_encoded(name) + "=" + form_encoded(value);
  }
  return form;
}

}  // namespace culvert::server
