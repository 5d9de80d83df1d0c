// SPDX-License-Identifier: Apache-2.0
#include "common/http/map_back.hpp"

#include <algorithm>

#include "common/http/characters.hpp"

namespace culvert::http {

namespace {

bool starts_with_scheme(std::string_view text, std::string_view scheme) {
  return is_equal_ignoring_case(text.substr(0, scheme.size()), scheme);
}

/// RFC 6265 5.1.3, on canonical hosts.
bool is_in_domain(std::string_view host, std::string_view domain) {
  if (host == domain) return true;
  const bool is_suffix = host.size() > domain.size() && host.ends_with(domain);
  return is_suffix && host[host.size() - domain.size() - 1] == '.' && !is_digit(host.back()) && !host.contains(':');
}

/// Whether a cookie with this Domain is for `host`.
bool is_domain_of(std::string_view domain, std::string_view host) {
  if (domain.starts_with('.')) domain.remove_prefix(1);
  const auto canonical = parse_host(domain);
  return canonical && is_in_domain(host, *canonical);
}

/// Clients take a cookie for a host without a dot, or for an address, only without a Domain.
bool may_be_domain(std::string_view host) {
  return host.contains('.') && !host.contains(':') && !is_digit(host.back());
}

}  // namespace

std::optional<std::string> map_location(std::string_view location, const Names& names) {
  Scheme scheme = names.internal_scheme;
  std::string_view rest = location;
  if (starts_with_scheme(rest, "http://")) {
    scheme = Scheme::http;
    rest.remove_prefix(std::string_view("http:").size());
  } else if (starts_with_scheme(rest, "https://")) {
    scheme = Scheme::https;
    rest.remove_prefix(std::string_view("https:").size());
  }
  if (!rest.starts_with("//")) return std::nullopt;
  rest.remove_prefix(2);
  const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  const auto authority = parse_authority(rest.substr(0, end), default_port(scheme));
  if (!authority) return std::nullopt;
  const bool is_the_back_end = scheme == names.internal_scheme && *authority == names.internal;
  // A back end that sees the virtual host takes it for its own name, with its own port (nginx) or without a port.
  const bool is_a_port_of_its = authority->port == names.internal.port || authority->port == default_port(scheme);
  const bool is_virtual = *authority == names.outside || (scheme == names.internal_scheme &&
                                                          authority->host == names.outside.host && is_a_port_of_its);
  if (!is_the_back_end && !is_virtual) return std::nullopt;
  std::string mapped = "http://";
  append_authority(mapped, names.outside, default_port(Scheme::http));
  mapped += rest.substr(end);
  return mapped;
}

std::optional<std::string> map_cookie(std::string_view cookie, const Names& names) {
  std::string mapped(cookie.substr(0, cookie.find(';')));
  bool has_changed = false;
  for (std::string_view rest = cookie.substr(mapped.size()); !rest.empty();) {
    rest.remove_prefix(1);  // The semicolon.
    const std::string_view attribute = rest.substr(0, rest.find(';'));
    rest.remove_prefix(attribute.size());
    const std::size_t equals = std::min(attribute.find('='), attribute.size());
    const std::string_view name = without_spaces_around(attribute.substr(0, equals));
    const std::string_view value = without_spaces_around(attribute.substr(std::min(equals + 1, attribute.size())));
    const bool is_secure = is_equal_ignoring_case(name, "Secure") ||
                           (is_equal_ignoring_case(name, "SameSite") && is_equal_ignoring_case(value, "None"));
    const bool is_ours = is_equal_ignoring_case(name, "Domain") && is_domain_of(value, names.internal.host);
    has_changed = has_changed || is_ours || (is_secure && names.strips_secure);
    if ((is_secure && names.strips_secure) || (is_ours && !may_be_domain(names.outside.host))) continue;
    mapped += ';';
    is_ours ? mapped.append(" Domain=").append(names.outside.host) : mapped.append(attribute);
  }
  if (!has_changed) return std::nullopt;
  return mapped;
}

void map_back(Fields& fields, const Names& names) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto [name, value] = fields[i];
    std::optional<std::string> mapped;
    if (is_equal_ignoring_case(name, "Location") || is_equal_ignoring_case(name, "Content-Location")) {
      mapped = map_location(value, names);
    } else if (is_equal_ignoring_case(name, "Set-Cookie")) {
      mapped = map_cookie(value, names);
    }
    if (mapped) fields.replace(i, *mapped);
  }
}

}  // namespace culvert::http
