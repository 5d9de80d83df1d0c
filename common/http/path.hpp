// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/http/refusal.hpp"

// The spelling and the canonical form of a path (docs/threat-model.md, B15). A path is sent on as it came, byte for
// byte (RFC 9110 7.7). Access control allows both this spelling and the canonical form, so that a back end reaches
// nothing else, however it reads the path:
//
//   - Needless encoding is decoded ("%41"), all other triplets get upper-case digits, and characters that a path must
//     not contain are encoded (`"<>[]^`{|}`).
//   - Empty segments are merged.
//   - ";params" are ordinary characters of their segment.
//   - A percent sign that begins no triplet is encoded ("100%"), unless some decoder would read one ("%u002e", "%2x").
//
// Paths that some back ends read differently are refused: dot segments, encoded control bytes, a backslash raw or
// encoded, overlong UTF-8, segments of dots with additions ("..;x", "..%20", "..."), and a dot, slash, backslash or
// zero that is encoded twice. The canonical form of a canonical path is the path itself.
namespace culvert::http {

enum class EncodedSlash : std::uint8_t {
  /// "%2f" and "%252f" are refused with refusals::encoded_slash.
  refuse,
  /// It stays as "%2F", an ordinary character. It is refused next to dots ("..%2F").
  keep,
};

enum class EncodedBackslash : std::uint8_t {
  /// "%5c" is refused with refusals::encoded_backslash.
  refuse,
  /// It stays as "%5C", an ordinary character. It is refused next to dots ("..%5C").
  keep,
};

/// What a back end needs in paths.
struct PathRules {
  // NOLINTNEXTLINE(google-explicit-constructor): most callers think of slashes only.
  constexpr PathRules(EncodedSlash for_slash, EncodedBackslash for_backslash = EncodedBackslash::refuse)
      : slash(for_slash), backslash(for_backslash) {}
  EncodedSlash slash;
  EncodedBackslash backslash;
};
/// What the agent's mapping may still allow: the server does not know it.
inline constexpr PathRules all_kept{EncodedSlash::keep, EncodedBackslash::keep};

/// Appends the canonical form of `raw` to `out`, or returns the flaw and leaves `out` with unspecified content. `raw`
/// must begin with a slash and have no query.
Flaw append_canonical_path(std::string& out, std::string_view raw, PathRules rules);
/// Returns the flaw that append_canonical_path() finds.
Flaw flaw_of_path(std::string_view raw, PathRules rules);

/// Returns the index of the first byte that no path may have at its place, or the size of the path. Only for errors: a
/// path may also be refused as a whole.
std::size_t bad_byte_of_path(std::string_view raw);

/// Whether `text`, without its question mark, may be sent on as a query: no blank and no control byte. Queries are
/// never decoded: nothing is decided by them.
bool is_query(std::string_view text);
/// Appends `text`, a query, in printable ASCII: other bytes, "#", and a percent sign that begins no triplet are
/// encoded. For older peers, which accept no other query.
void append_ascii_query(std::string& out, std::string_view text);

}  // namespace culvert::http
