// SPDX-License-Identifier: Apache-2.0
#include "server/targets/target_url.hpp"

#include <algorithm>
#include <utility>

#include "common/http/characters.hpp"
#include "common/http/path.hpp"

namespace culvert::server {

Result<TargetUrl> parse_target_url(std::string_view text) {
  const auto malformed = [] {
    return fail("config.malformed",
                "must be a URL like https://host[:port]/path without user, fragment and dot segments");
  };
  TargetUrl url;
  const auto takes = [&text](std::string_view prefix) {
    if (!http::is_equal_ignoring_case(text.substr(0, prefix.size()), prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
  };
  if (takes("http://")) {
    url.scheme = http::Scheme::http;
  } else if (!takes("https://")) {
    return malformed();
  }
  const std::size_t end = std::min(text.find_first_of("/?#"), text.size());
  auto server = http::parse_authority(text.substr(0, end), http::default_port(url.scheme));
  if (!server) return malformed();
  url.server = std::move(*server);
  text.remove_prefix(end);
  const std::size_t mark = std::min(text.find('?'), text.size());
  url.path = text.substr(0, mark);
  url.query = text.substr(mark);
  if (text.contains('#')) return malformed();
  if (!url.path.empty() && http::flaw_of_path(url.path, http::all_kept) != nullptr) return malformed();
  if (!url.query.empty() && !http::is_query(std::string_view(url.query).substr(1))) return malformed();
  if (url.query == "?") url.query.clear();
  return url;
}

}  // namespace culvert::server
