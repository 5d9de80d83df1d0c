// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "common/http/characters.hpp"
#include "common/http/path.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

using namespace http;

/// As a lenient back end might: every triplet decoded, parameters cut off, trailing dots and spaces dropped where more
/// is there, backslashes taken for slashes. Answers whether a dot segment comes to light.
bool has_hidden_dots(const std::string& canonical) {
  std::string decoded;
  for (std::size_t at = 0; at < canonical.size(); ++at) {
    if (canonical[at] != '%') {
      decoded += canonical[at];
      continue;
    }
    decoded += static_cast<char>(hex_value(canonical[at + 1]) * 16 + hex_value(canonical[at + 2]));
    at += 2;
  }
  std::ranges::replace(decoded, '\\', '/');
  for (std::size_t at = 0; at != std::string::npos;) {
    const std::size_t end = decoded.find('/', at + 1);
    std::string segment = decoded.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    segment = segment.substr(0, segment.find(';'));
    const bool has_dot = segment.contains('.');
    while (!segment.empty() && (segment.back() == ' ' || segment.back() == '.')) segment.pop_back();
    if (has_dot && segment.empty()) return true;
    at = end;
  }
  return false;
}

/// What strictness allows it allows as what it is without it.
bool is_strictly_allowed(std::string_view raw, const std::string& kept) {
  std::string strict;
  if (append_canonical_path(strict, raw, EncodedSlash::refuse) != nullptr) return false;
  check(kept == strict, "to keep encoded slashes changes no other path");
  return true;
}

bool is_fixed_point(const std::string& path) {
  std::string again;
  return append_canonical_path(again, path, EncodedSlash::keep) == nullptr && again == path;
}

}  // namespace

void http_path(std::span<const std::byte> input) {
  const std::string_view raw(reinterpret_cast<const char*>(input.data()), input.size());
  std::string kept;
  const Flaw flaw = append_canonical_path(kept, raw, EncodedSlash::keep);
  if (flaw != nullptr) {
    std::string strict;
    check(append_canonical_path(strict, raw, EncodedSlash::refuse) != nullptr, "strictness allows nothing more");
    return;
  }
  check(kept.starts_with('/'), "a path begins at the root");
  check(!kept.contains("//"), "no segment is empty");
  check(!kept.contains("/./") && !kept.contains("/../") && !kept.ends_with("/.") && !kept.ends_with("/.."),
        "no dot segment is left");
  check(!has_hidden_dots(kept), "nor one in disguise");
  check(std::ranges::all_of(kept, [](char c) { return c == '%' || is(path_character, c); }), "of allowed characters");
  check(!is_strictly_allowed(raw, kept) || !kept.contains("%2F"), "and without encoded slashes, unless they are kept");
  check(is_fixed_point(kept), "it is a fixed point");
}

}  // namespace culvert::fuzz
