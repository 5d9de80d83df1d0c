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

/// True for a percent sign that every reader takes for itself, or refuses: no digit of a triplet follows, nor what some
/// decoders accept instead ("%u002e", "%+2", "% 2").
bool is_bare_percent(std::string_view text) {
  if (!text.starts_with('%')) return false;
  if (text.size() == 1 || text[1] == '/') return true;
  const char next = static_cast<char>(text[1] | 0x20);
  return next > 'f' && next <= 'z' && next != 'u' && next != 'x';
}

/// True for most paths: nothing is encoded, no segment is empty or begins with a dot.
bool is_plain(std::string_view raw) {
  char before = 0;
  for (const char c : raw) {
    if (!is(path_character, c) || (before == '/' && (c == '/' || c == '.'))) return false;
    before = c;
  }
  return true;
}

/// True for bytes that begin an overlong spelling of a character, which UTF-8 forbids: lenient decoders read "%C0%AE"
/// as a dot, and some "%C0%2E" and "%C0." too. In Latin-1 C0 and C1 are letters: before another letter they are
/// harmless.
bool is_overlong(int byte, std::string_view behind) {
  if (byte == 0xc0 || byte == 0xc1)
    return !behind.empty() && (!is(path_character, behind.front()) || behind.front() == '.');
  const int next = triplet_value(behind);
  if (next < 0x80) return false;
  return (byte == 0xe0 && next < 0xa0) || (byte == 0xf0 && next < 0x90) || (byte == 0xf8 && next < 0x88) ||
         (byte == 0xfc && next < 0x84);
}

/// Gives each character its one spelling; does not change the segments.
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
    if (is_bare_percent(raw)) {
      append_encoded(out, '%');
      raw.remove_prefix(1);
      continue;
    }
    const int byte = triplet_value(raw);
    if (byte < 0x20 || byte == 0x7f) return &refusals::bad_path;
    raw.remove_prefix(3);
    if (byte == '/' && slash == EncodedSlash::refuse) return &refusals::encoded_slash;
    if (is_overlong(byte, raw)) return &refusals::bad_path;
    if (is(unreserved_character, static_cast<char>(byte))) {
      out += static_cast<char>(byte);
    } else {
      append_encoded(out, static_cast<unsigned>(byte));
    }
  }
  return nullptr;
}

/// Finds "%25" (or "%2525" and so on) that becomes a dot, a slash, a backslash or a zero when it is decoded twice.
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

/// True for dots, possibly with encoded spaces, followed by the end or parameters: servlet containers remove the
/// parameters, Windows the spaces and further dots, and then see a dot segment.
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

/// True for a segment that is not "." or "..", but that another program may read so, as a whole or between encoded
/// slashes and backslashes.
bool is_doubtful(std::string_view segment) {
  for (;;) {
    const std::size_t slash = std::min(segment.find("%2F"), segment.find("%5C"));
    if (is_hidden_dot_segment(segment.substr(0, slash))) return true;
    if (slash == segment.npos) return false;
    segment.remove_prefix(slash + 3);
  }
}

/// Appends `decoded` to `out`, without its empty segments.
Flaw append_segments(std::string& out, std::string_view decoded) {
  out.reserve(out.size() + decoded.size());
  Flaw flaw = nullptr;
  int depth = 0;
  bool is_directory = true;
  while (!decoded.empty()) {
    decoded.remove_prefix(1);  // The slash.
    const std::string_view segment = decoded.substr(0, decoded.find('/'));
    decoded.remove_prefix(segment.size());
    is_directory = segment.empty();
    if (is_directory) continue;
    if (segment == "." || segment == "..") {
      flaw = &refusals::dot_segment;
      if (segment == ".." && --depth < 0) return &refusals::path_climbs_out;
      continue;
    }
    if (is_doubtful(segment)) return &refusals::bad_path;
    ++depth;
    out.append(1, '/').append(segment);
  }
  if (is_directory) out += '/';
  return flaw;
}

}  // namespace

Flaw append_canonical_path(std::string& out, std::string_view raw, PathRules rules) {
  if (!raw.starts_with('/')) return &refusals::bad_path;
  if (is_plain(raw)) {
    out += raw;
    return nullptr;
  }
  std::string decoded;
  decoded.reserve(raw.size() + 16);
  if (const Flaw flaw = append_decoded(decoded, raw, rules.slash)) return flaw;
  if (const Flaw flaw = twice_encoded(decoded, rules.slash)) return flaw;
  if (const Flaw flaw = append_segments(out, decoded)) return flaw;
  const bool is_refused = rules.backslash == EncodedBackslash::refuse && decoded.contains("%5C");
  return is_refused ? &refusals::encoded_backslash : nullptr;
}

Flaw flaw_of_path(std::string_view raw, PathRules rules) {
  if (raw.starts_with('/') && is_plain(raw)) return nullptr;
  std::string canonical;
  return append_canonical_path(canonical, raw, rules);
}

std::size_t bad_byte_of_path(std::string_view raw) {
  std::size_t at = 0;
  while (at < raw.size()) {
    const int byte = triplet_value(raw.substr(at));
    const bool is_good = is(path_character, raw[at]) || is(sloppy_character, raw[at]) ||
                         is_bare_percent(raw.substr(at)) || (byte >= 0x20 && byte != 0x7f);
    if (!is_good) break;
    at += byte >= 0 ? 3 : 1;
  }
  return at;
}

bool is_query(std::string_view text) {
  return all_are(query_character, text);
}

void append_ascii_query(std::string& out, std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool is_kept = c == '%' ? triplet_value(text.substr(at)) >= 0 : c > ' ' && c <= '~' && c != '#';
    if (is_kept) {
      out += c;
    } else {
      append_encoded(out, static_cast<unsigned char>(c));
    }
  }
}

}  // namespace culvert::http
