// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/http/refusal.hpp"

// One form for each path (threats B15, contracts 5). Access control matches this form and the back end gets this very
// form, so the two never speak of different resources:
//
//   - what is encoded without need is decoded ("%41", "%2e"), all other triplets get capital digits, and what a path
//   may
//     not have raw is encoded (`"<>[]^`{|}`);
//   - empty segments are merged, then "." and ".." are resolved. Climbing above the root is refused;
//   - ";params" are ordinary characters of their segment.
//
// What some back end reads in another way than we do is refused: encoded control bytes, a backslash raw or encoded,
// overlong UTF-8, segments that are dots with something around ("..;x", "..%20", "..."), and a dot, slash, backslash or
// zero that is encoded twice. The result is a fixed point: its canonical form is itself.

namespace culvert::http {

enum class EncodedSlash : std::uint8_t {
  /// "%2f" is refusals::encoded_slash, and so is "%252f".
  refuse,
  /// It stays as "%2F", an ordinary character, though not beside dots ("..%2F"), nor where ".." takes it away.
  keep,
};

/// Appends the canonical form of `raw` to `out`, or says what is wrong; then `out` has any content. `raw` begins with a
/// slash and has no query.
Flaw append_canonical_path(std::string& out, std::string_view raw, EncodedSlash slash);

/// Whether `text`, without its question mark, can go on as a query: printable ASCII without "#", and each "%" with two
/// hexadecimal digits. It is never decoded here: nothing is decided on it.
bool is_query(std::string_view text);

}  // namespace culvert::http
