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

/// The host and port of a Host field, an absolute-form target or a CONNECT target, in the canonical form that Endpoint
/// has, by the same rule that reads hosts in configuration files (parse_host): so what is compared is never spelt in
/// two ways (threats B8). Without a port it is `port_if_missing`; nullopt: the port must be there. Refuses userinfo,
/// "%", zones, port 0, leading zeros, an empty port, whatever stands behind it: refusals::bad_authority.
std::expected<Endpoint, Flaw> parse_authority(std::string_view text, std::optional<std::uint16_t> port_if_missing);

/// "host", "host:8080", "[::1]:8080": without the port where it is `port_to_omit`.
void append_authority(std::string& out, const Endpoint& authority, std::uint16_t port_to_omit);

}  // namespace culvert::http
