// SPDX-License-Identifier: Apache-2.0
#include "common/http/characters.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace culvert::http {

bool all_are(Character kind, std::string_view text) {
  return std::ranges::all_of(text, [kind](char c) { return is(kind, c); });
}

bool is_token(std::string_view text) {
  return !text.empty() && all_are(token_character, text);
}

bool is_field_value(std::string_view text) {
  if (!text.empty() && (is_space(text.front()) || is_space(text.back()))) return false;
  return find_control(text, 0) == text.size();
}

bool is_equal_ignoring_case(std::string_view one, std::string_view other) {
  return one.size() == other.size() &&
         std::ranges::equal(one, other, [](char a, char b) { return a == b || lower(a) == lower(b); });
}

bool is_alike(std::string_view one, std::string_view other) {
  const auto folded = [](char c) { return c == '_' ? '-' : lower(c); };
  return one.size() == other.size() &&
         std::ranges::equal(one, other, [folded](char a, char b) { return a == b || folded(a) == folded(b); });
}

std::string_view without_spaces_around(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::size_t find_control(std::string_view text, std::size_t from) {
  constexpr std::uint64_t ones = 0x0101'0101'0101'0101;
  constexpr std::uint64_t tops = 0x80 * ones;
  while (from < text.size()) {
    // Tests eight bytes at once: the top bit of each byte in `hits` is set if the byte is below 0x20 or DEL. A borrow
    // may also set it for the byte behind a hit; only the first hit counts.
    while (from + 8 <= text.size()) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data() + from, sizeof word);
      if constexpr (std::endian::native == std::endian::big) word = std::byteswap(word);
      const std::uint64_t not_delete = word ^ (0x7f * ones);
      const std::uint64_t hits = ((word - 0x20 * ones) & ~word & tops) | ((not_delete - ones) & ~not_delete & tops);
      if (hits != 0) {
        from += static_cast<std::size_t>(std::countr_zero(hits)) / 8;
        break;
      }
      from += 8;
    }
    if (from == text.size() || !is(value_character, text[from])) return from;
    ++from;
  }
  return from;
}

namespace {

/// `comma`: its index in `rest`, or anything beyond the end.
std::string_view take_until(std::size_t comma, std::string_view& rest) {
  const std::string_view element = rest.substr(0, comma);
  rest.remove_prefix(comma >= rest.size() ? rest.size() : comma + 1);
  return without_spaces_around(element);
}

}  // namespace

std::string_view take_element(std::string_view& rest) {
  return take_until(rest.find(','), rest);
}

std::string_view take_element_with_strings(std::string_view& rest) {
  bool is_quoted = false;
  std::size_t comma = 0;
  for (; comma < rest.size() && (is_quoted || rest[comma] != ','); ++comma) {
    if (rest[comma] == '"') is_quoted = !is_quoted;
    if (is_quoted && rest[comma] == '\\') ++comma;
  }
  return take_until(comma, rest);
}

void append_decimal(std::string& out, std::uint64_t number) {
  char digits[20];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
  out.append(std::begin(digits), end);
}

}  // namespace culvert::http
