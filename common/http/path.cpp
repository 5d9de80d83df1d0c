// SPDX-License-Identifier: Apache-2.0
#include "common/http/path.hpp"

#include <algorithm>

#include "common/http/characters.hpp"

namespace culvert::http {

namespace {

constexpr std::string_view capital_digits = "0123456789ABCDEF";

void append_encoded(std::string& out, unsigned byte) {
  out += '%';
  out += capital_digits[byte >> 4];
  out += capital_digits[byte & 15];
}

/// The value of the triplet at the front of `text`, or -1.
int triplet_value(std::string_view text) {
  if (text.size() < 3 || text[0] != '%') return -1;
  const int high = hex_value(text[1]);
  const int low = hex_value(text[2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/// Most paths: nothing is encoded, nothing empty, and no segment begins with a dot.
bool is_plain(std::string_view raw) {
  char before = 0;
  for (const char c : raw) {
    if (!is(path_character, c) || (before == '/' && (c == '/' || c == '.'))) return false;
    before = c;
  }
  return true;
}

/// A byte that can only begin a longer spelling of a character than UTF-8 allows, or such a pair of bytes: lenient
/// decoders make a dot or a slash of it ("%C0%AE").
bool is_overlong(int byte, int next) {
  if (byte == 0xc0 || byte == 0xc1) return true;
  if (next < 0x80) return false;
  return (byte == 0xe0 && next < 0xa0) || (byte == 0xf0 && next < 0x90) || (byte == 0xf8 && next < 0x88) ||
         (byte == 0xfc && next < 0x84);
}

/// Each character in its one spelling; segments as they are.
Flaw append_decoded(std::string& out, std::string_view raw, EncodedSlash slash) {
  while (!raw.empty()) {
    const char c = raw.front();
    if (is(path_character, c)) {
      out += c;
      raw.remove_prefix(1);
      continue;
    }
    if (is(sloppy_character, c)) {
      append_encoded(out, static_cast<unsigned char>(c));
      raw.remove_prefix(1);
      continue;
    }
    const int byte = triplet_value(raw);
    if (byte < 0x20 || byte == 0x7f || byte == '\\') return &refusals::bad_path;
    raw.remove_prefix(3);
    if (byte == '/' && slash == EncodedSlash::refuse) return &refusals::encoded_slash;
    if (is_overlong(byte, triplet_value(raw))) return &refusals::bad_path;
    if (is(unreserved_character, static_cast<char>(byte))) {
      out += static_cast<char>(byte);
    } else {
      append_encoded(out, static_cast<unsigned>(byte));
    }
  }
  return nullptr;
}

/// "%25" (and more of "25") before what would be a dot, a slash, a backslash or a zero to one that decodes twice.
Flaw twice_encoded(std::string_view decoded, EncodedSlash slash) {
  for (std::size_t at = decoded.find("%25"); at != decoded.npos; at = decoded.find("%25", at + 3)) {
    std::string_view rest = decoded.substr(at + 3);
    while (rest.starts_with("25")) rest.remove_prefix(2);
    if (rest.size() < 2) continue;
    const int high = hex_value(rest[0]);
    const int low = hex_value(rest[1]);
    if (high < 0 || low < 0) continue;
    const int byte = high * 16 + low;
    if (byte == '.' || byte == '\\' || byte == 0) return &refusals::bad_path;
    if (byte == '/' && slash == EncodedSlash::refuse) return &refusals::encoded_slash;
  }
  return nullptr;
}

/// Dots, maybe with encoded spaces, and then the end or parameters: servlet containers cut off the parameters and
/// Windows the spaces and further dots, and then see a dot segment.
bool is_hidden_dot_segment(std::string_view piece) {
  bool has_dot = false;
  while (!piece.empty() && piece.front() != ';' && !piece.starts_with("%3B")) {
    const bool is_dot = piece.front() == '.';
    if (!is_dot && !piece.starts_with("%20")) return false;
    has_dot = has_dot || is_dot;
    piece.remove_prefix(is_dot ? 1 : 3);
  }
  return has_dot;
}

/// True for a segment that is not "." or ".." but might be to somebody, in whole or between encoded slashes.
bool is_doubtful(std::string_view segment) {
  for (;;) {
    const std::size_t slash = segment.find("%2F");
    if (is_hidden_dot_segment(segment.substr(0, slash))) return true;
    if (slash == segment.npos) return false;
    segment.remove_prefix(slash + 3);
  }
}

/// To who decodes before he resolves, ".." behind such a segment takes away only a part of it.
bool has_encoded_slash(std::string_view segment) {
  return segment.contains("%2F") || twice_encoded(segment, EncodedSlash::refuse) != nullptr;
}

/// `decoded` without its empty and dot segments, behind what `out` has.
Flaw append_resolved(std::string& out, std::string_view decoded) {
  const std::size_t root = out.size();
  out.reserve(root + decoded.size());
  bool is_directory = true;
  while (!decoded.empty()) {
    decoded.remove_prefix(1);  // The slash.
    const std::string_view segment = decoded.substr(0, decoded.find('/'));
    decoded.remove_prefix(segment.size());
    is_directory = segment.empty() || segment == "." || segment == "..";
    if (segment == "..") {
      if (out.size() == root) return &refusals::path_climbs_out;
      const std::size_t parent = out.rfind('/');
      if (has_encoded_slash(std::string_view(out).substr(parent))) return &refusals::bad_path;
      out.resize(parent);
    } else if (!is_directory) {
      if (is_doubtful(segment)) return &refusals::bad_path;
      out.append(1, '/').append(segment);
    }
  }
  if (is_directory) out += '/';
  return nullptr;
}

}  // namespace

Flaw append_canonical_path(std::string& out, std::string_view raw, EncodedSlash slash) {
  if (!raw.starts_with('/')) return &refusals::bad_path;
  if (is_plain(raw)) {
    out += raw;
    return nullptr;
  }
  std::string decoded;
  decoded.reserve(raw.size() + 16);
  if (const Flaw flaw = append_decoded(decoded, raw, slash)) return flaw;
  if (const Flaw flaw = twice_encoded(decoded, slash)) return flaw;
  return append_resolved(out, decoded);
}

bool is_query(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!is(query_character, text[at])) return false;
    if (text[at] == '%' && triplet_value(text.substr(at)) < 0) return false;
  }
  return true;
}

}  // namespace culvert::http
