// SPDX-License-Identifier: Apache-2.0
#include "common/http/web_dav.hpp"

#include <algorithm>

#include "common/http/characters.hpp"

namespace culvert::http {

namespace {

/// Moves `at` behind the next `end`. Returns false if there is none.
bool skip_behind(std::string_view text, std::size_t& at, char end) {
  at = text.find(end, at);
  if (at == text.npos) return false;
  ++at;
  return true;
}

/// Moves `at` behind a list of conditions: "(" with state tokens "<…>" and entity tags "[…]".
bool skip_list(std::string_view text, std::size_t& at) {
  for (++at; at < text.size();) {
    const char c = text[at++];
    if (c == ')') return true;
    if (c == '(') return false;
    if (c == '<' && !skip_behind(text, at, '>')) return false;
    if (c != '[') continue;
    // A quoted tag may contain the bracket.
    const std::size_t quote = text.find('"', at);
    if (quote != text.npos && quote < text.find(']', at)) {
      at = quote + 1;
      if (!skip_behind(text, at, '"')) return false;
    }
    if (!skip_behind(text, at, ']')) return false;
  }
  return false;
}

std::optional<std::string> map_if(std::string_view text, const MapDavUrl& map) {
  std::string mapped;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (is_space(text[at])) {
      ++at;
    } else if (text[at] == '(') {
      if (!skip_list(text, at)) return std::nullopt;
    } else if (text[at] == '<') {
      if (!skip_behind(text, at, '>')) return std::nullopt;
      const auto url = map(DavField::if_tag, text.substr(start + 1, at - start - 2));
      if (!url) return std::nullopt;
      mapped.append(1, '<').append(*url).append(1, '>');
      continue;
    } else {
      return std::nullopt;
    }
    mapped += text.substr(start, at - start);
  }
  return mapped;
}

}  // namespace

bool map_dav_urls(Fields& fields, const MapDavUrl& map) {
  bool has_destination = false;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto [name, value] = fields[i];
    std::optional<std::string> mapped;
    if (is_equal_ignoring_case(name, "Destination")) {
      if (has_destination) return false;
      has_destination = true;
      mapped = map(DavField::destination, value);
    } else if (is_equal_ignoring_case(name, "If")) {
      mapped = map_if(value, map);
    } else {
      continue;
    }
    if (!mapped) return false;
    if (*mapped != value) fields.replace(i, *mapped);
  }
  return true;
}

std::optional<std::string_view> behind_host(std::string_view url, const Endpoint& authority) {
  if (url.starts_with('/') && !url.starts_with("//")) return url;
  for (const Scheme scheme : {Scheme::http, Scheme::https}) {
    const std::string_view name = name_of(scheme);
    if (!is_equal_ignoring_case(url.substr(0, name.size()), name) || !url.substr(name.size()).starts_with("://"))
      continue;
    const std::string_view rest = url.substr(name.size() + 3);
    const std::size_t slash = rest.find('/');
    if (slash == rest.npos) return std::nullopt;
    const auto host = parse_authority(rest.substr(0, slash), default_port(scheme));
    if (host && *host == authority) return rest.substr(slash);
  }
  return std::nullopt;
}

}  // namespace culvert::http
