// SPDX-License-Identifier: Apache-2.0
#include "common/http/authority.hpp"

#include <charconv>
#include <utility>

#include "common/http/characters.hpp"

namespace culvert::http {

namespace {

constexpr auto bad_authority = std::unexpected<Flaw>(&refusals::bad_authority);

std::optional<std::uint16_t> port_of(std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const bool is_number = error == std::errc() && end == digits.data() + digits.size();
  if (!is_number || digits.front() == '0') return std::nullopt;
  return port;
}

}  // namespace

std::expected<Endpoint, Flaw> parse_authority(std::string_view text, std::optional<std::uint16_t> port_if_missing) {
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  const bool is_bracketed = text.starts_with('[');
  if (is_bracketed) {
    const std::size_t close = text.find(']');
    if (close == text.npos) return bad_authority;
    host = text.substr(1, close - 1);
    // "[1.2.3.4]" and "[name]" are not valid: brackets are for IPv6 addresses only.
    if (!host.contains(':')) return bad_authority;
    port = text.substr(close + 1);
    has_port = !port.empty();
    if (has_port && port.front() != ':') return bad_authority;
    if (has_port) port.remove_prefix(1);
  } else if (const std::size_t colon = text.find(':'); colon != text.npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  const auto number = has_port ? port_of(port) : port_if_missing;
  if (!number) return bad_authority;
  auto canonical = parse_host(host);
  if (!canonical) return bad_authority;
  return Endpoint{std::move(*canonical), *number};
}

void append_authority(std::string& out, const Endpoint& authority, std::uint16_t port_to_omit) {
  const bool is_bracketed = authority.host.contains(':');
  if (is_bracketed) out += '[';
  out += authority.host;
  if (is_bracketed) out += ']';
  if (authority.port == port_to_omit) return;
  out += ':';
  append_decimal(out, authority.port);
}

}  // namespace culvert::http
