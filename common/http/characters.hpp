// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// Classes of bytes, in one table, and comparison without regard to case. ASCII only, independent of the locale.

namespace culvert::http {

enum Character : std::uint8_t {
  token_character = 1,       ///< RFC 9110 5.6.2: tchar.
  value_character = 2,       ///< RFC 9110 5.5: HTAB, SP, VCHAR, obs-text.
  path_character = 4,        ///< RFC 3986 3.3: pchar without "%", plus the slash.
  sloppy_character = 8,      ///< Printable and forbidden in a path, but browsers send them raw: `"<>[]^`{|}`.
  query_character = 16,      ///< All but blanks and control bytes: what a query may contain.
  unreserved_character = 32  ///< RFC 3986 2.3: the encoded form means the same.
};

constexpr std::array<std::uint8_t, 256> make_character_table() {
  constexpr std::string_view token_marks = "!#$%&'*+-.^_`|~";
  constexpr std::string_view path_marks = "-._~!$&'()*+,;=:@/";
  constexpr std::string_view sloppy_marks = "\"<>[]^`{|}";
  std::array<std::uint8_t, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    const char letter = static_cast<char>(c);
    const bool is_alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    unsigned classes = 0;
    if (is_alphanumeric || token_marks.contains(letter)) classes |= token_character;
    if (c == '\t' || (c >= ' ' && c != 0x7f)) classes |= value_character;
    if (is_alphanumeric || path_marks.contains(letter)) classes |= path_character;
    if (sloppy_marks.contains(letter)) classes |= sloppy_character;
    if (c > ' ' && c != 0x7f) classes |= query_character;
    if (is_alphanumeric || std::string_view("-._~").contains(letter)) classes |= unreserved_character;
    table[c] = static_cast<std::uint8_t>(classes);
  }
  // NUL is in no class: contains('\0') is false for a literal.
  return table;
}
inline constexpr std::array<std::uint8_t, 256> character_table = make_character_table();

inline bool is(Character kind, char c) {
  return (character_table[static_cast<unsigned char>(c)] & kind) != 0;
}
/// Whether every byte of `text` is of this kind; true for the empty text.
bool all_are(Character kind, std::string_view text);

inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_space(char c) {
  return c == ' ' || c == '\t';
}
/// The value of a hexadecimal digit, or -1.
inline int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const int letter = c | 0x20;
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}
inline char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

/// RFC 9110 5.6.2: at least one tchar and nothing else.
bool is_token(std::string_view text);
/// RFC 9110 5.5: no control byte except HTAB, and no white space at either end.
bool is_field_value(std::string_view text);

bool is_equal_ignoring_case(std::string_view one, std::string_view other);
/// The same, with "_" and "-" treated as equal: programs behind CGI and WSGI cannot distinguish such names.
bool is_alike(std::string_view one, std::string_view other);

std::string_view without_spaces_around(std::string_view text);

/// The first control byte other than HTAB at or behind `from`, or text.size().
std::size_t find_control(std::string_view text, std::size_t from);

/// Removes the next element of a list like "a, b" from the front of `rest` and returns it without surrounding white
/// space; elements may be empty. Only for lists of tokens: it does not handle quoted strings.
std::string_view take_element(std::string_view& rest);
/// The same for elements that may contain quoted strings (RFC 9110 5.6.4): commas in them separate nothing. A string
/// that is not closed ends with the list.
std::string_view take_element_with_strings(std::string_view& rest);

void append_decimal(std::string& out, std::uint64_t number);

}  // namespace culvert::http
