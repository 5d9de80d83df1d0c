// SPDX-License-Identifier: Apache-2.0
#include "server/web/document_url.hpp"

#include <algorithm>
#include <utility>

#include "common/http/head_check.hpp"
#include "common/http/target.hpp"

namespace culvert::server {

Result<DocumentUrl> parse_document_url(std::string_view text) {
  const auto malformed = [] {
    return fail("config.malformed",
                "must be a URL like https://host[:port]/path without user and fragment; http:// is accepted for "
                "this machine's own 127.0.0.1 or localhost only");
  };
  DocumentUrl url;
  if (text.starts_with("http://")) {
    url.scheme = http::Scheme::http;
  } else if (!text.starts_with("https://")) {
    return malformed();
  }
  text.remove_prefix(text.find("//") + 2);
  const std::size_t slash = std::min(text.find_first_of("/?#"), text.size());
  auto authority = http::parse_authority(text.substr(0, slash), http::default_port(url.scheme));
  if (!authority) return malformed();
  if (!url.is_secure() && !is_loopback(authority->host)) return malformed();
  // What a request for it would be: the rules for its target are those of HTTP.
  http::RequestHead request;
  request.method = "GET";
  const std::string target(slash == text.size() ? "/" : text.substr(slash));
  if (http::parse_target(target, http::Role::origin, request) != nullptr) return malformed();
  request.scheme = url.scheme;
  request.authority = *authority;
  if (http::flaw_of(request) != nullptr) return malformed();
  url.server = std::move(*authority);
  url.path = std::move(request.path);
  url.query = std::move(request.query);
  return url;
}

}  // namespace culvert::server
