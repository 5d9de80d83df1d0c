// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "common/http/refusal.hpp"
#include "common/net/endpoint.hpp"

namespace culvert::http {

enum class Scheme : std::uint8_t { http, https };

constexpr std::uint16_t default_port(Scheme scheme) {
  return scheme == Scheme::http ? 80 : 443;
}
constexpr std::string_view name_of(Scheme scheme) {
  return scheme == Scheme::http ? "http" : "https";
}

/// Parses the host and port of a Host field, an absolute-form target or a CONNECT target into the canonical form of
/// Endpoint, with the rule for hosts in configuration files (parse_host), so that a host always has the same spelling
/// when it is compared (threats B8). A missing port becomes `port_if_missing`; with nullopt the port is required.
/// Refuses userinfo, "%", zones, port 0, leading zeros, an empty port, and anything behind the port:
/// refusals::bad_authority.
std::expected<Endpoint, Flaw> parse_authority(std::string_view text, std::optional<std::uint16_t> port_if_missing);

/// "host", "host:8080" or "[::1]:8080"; leaves out the port if it is `port_to_omit`.
void append_authority(std::string& out, const Endpoint& authority, std::uint16_t port_to_omit);

}  // namespace culvert::http
