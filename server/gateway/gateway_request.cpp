// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/gateway_request.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/http/authority.hpp"
#include "common/http/characters.hpp"
#include "common/http/field_names.hpp"
#include "server/targets/gateway_path.hpp"

namespace culvert::server {

namespace {

constexpr std::array idempotent{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
constexpr std::array safe{"GET", "HEAD", "OPTIONS", "TRACE"};

/// Takes `text` from the front of `rest`, ignoring case.
bool take_prefix(std::string_view& rest, std::string_view text) {
  if (!http::is_equal_ignoring_case(rest.substr(0, text.size()), text)) return false;
  rest.remove_prefix(text.size());
  return true;
}

/// RFC 3986 3.1: "https:…", but not "a/b:c".
bool has_scheme(std::string_view text) {
  const std::size_t colon = text.find(':');
  return colon != text.npos && colon < text.find_first_of("/?#");
}

bool is_dots(std::string_view segment, std::size_t count) {
  std::string plain;
  for (std::size_t at = 0; at < segment.size();) {
    const bool is_encoded = http::is_equal_ignoring_case(segment.substr(at, 3), "%2e");
    plain += is_encoded ? '.' : segment[at];
    at += is_encoded ? 3 : 1;
  }
  return plain == std::string(count, '.');
}

/// RFC 3986 5.2.4, as clients do it. An empty path stays empty.
std::string without_dot_segments(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    path.remove_prefix(1);  // The slash.
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view segment = path.substr(0, end);
    path.remove_prefix(end);
    if (is_dots(segment, 1) || is_dots(segment, 2)) {
      if (is_dots(segment, 2)) out.resize(out.empty() ? 0 : out.rfind('/'));
      if (path.empty()) out += '/';
    } else {
      out.append("/").append(segment);
    }
  }
  return out;
}

}  // namespace

bool make_request(http::RequestHead& head, const ExternalTarget& target, std::string_view rest, http::Version version) {
  head.path = join_path(target.url.path, rest);
  head.query = join_query(target.url.query, head.query, target.parameters.query);
  head.scheme = target.url.scheme;
  head.authority = target.url.server;
  http::erase_own_fields(head.fields, http::Forwarded::erase);
  http::append_via(head.fields, version);
  set_parameters(head.fields, target.parameters.fields);
  if (const auto token = head.fields.find("Access-Token")) {
    const std::string value(*token);
    head.fields.erase("Access-Token");
    head.fields.set("Authorization", value);
    return false;
  }
  add_grant(head.fields, target.login);
  return true;
}

void set_parameters(http::Fields& fields, const http::Fields& parameters) {
  for (const auto& [name, value] : parameters) fields.erase(name);
  for (const auto& [name, value] : parameters) fields.add(name, value);
}

void add_grant(http::Fields& fields, const http::Fields& grant) {
  for (const auto& [name, value] : grant) {
    if (http::is_equal_ignoring_case(name, "Cookie")) {
      std::string cookies;
      for (const auto& [known, own] : fields) {
        if (http::is_equal_ignoring_case(known, "Cookie")) cookies.append(own).append("; ");
      }
      fields.set(name, cookies + std::string(value));
    } else {
      fields.set(name, value);
    }
  }
}

std::optional<std::string> map_location(std::string_view location, std::string_view request_path, const TargetUrl& url,
                                        const TargetNames& names) {
  std::string_view rest = location;
  const bool is_whole = has_scheme(rest) || rest.starts_with("//");
  if (is_whole) {
    const std::string scheme = std::string(http::name_of(url.scheme)) + "://";
    if (!take_prefix(rest, "//") && !take_prefix(rest, scheme)) return std::nullopt;
    const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
    const auto authority = http::parse_authority(rest.substr(0, end), http::default_port(url.scheme));
    if (!authority || *authority != url.server) return std::nullopt;
    rest.remove_prefix(end);
  } else if (rest.empty() || rest.front() == '?' || rest.front() == '#') {
    return std::nullopt;
  }
  const std::size_t end = std::min(rest.find_first_of("?#"), rest.size());
  const std::string_view tail = rest.substr(end);
  std::string path(rest.substr(0, end));
  if (!is_whole && path.front() != '/') path.insert(0, request_path.substr(0, request_path.rfind('/') + 1));
  path = without_dot_segments(path);

  std::string_view base = url.path;
  if (base.ends_with('/')) base.remove_suffix(1);
  const bool is_inside = path.starts_with(base) && (path.size() == base.size() || path[base.size()] == '/');
  std::string mapped;
  if (is_inside) {
    if (is_whole && !names.host.host.empty()) {  // HTTP/1.0 has no Host: then a path is enough.
      mapped = "http://";
      http::append_authority(mapped, names.host, http::default_port(http::Scheme::http));
    }
    mapped.append(names.prefix).append(std::string_view(path).substr(base.size()));
  } else {
    // As a path of the gateway it would lead to another target.
    mapped.append(http::name_of(url.scheme)).append("://");
    http::append_authority(mapped, url.server, http::default_port(url.scheme));
    mapped += path;
  }
  return mapped.append(tail);
}

bool is_idempotent(std::string_view method) {
  return std::ranges::find(idempotent, method) != idempotent.end();
}

bool is_unsafe(std::string_view method) {
  return std::ranges::find(safe, method) == safe.end();
}

bool may_send_again(const SentSoFar& sent) {
  if (!sent.is_kept && sent.body_bytes > 0) return false;
  return is_idempotent(sent.method) || (sent.has_body && sent.body_bytes == 0);
}

}  // namespace culvert::server
