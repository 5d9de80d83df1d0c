// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "common/http/authority.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {

void http_authority(std::span<const std::byte> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const auto authority = http::parse_authority(text, 80);
  if (!authority) return;
  check(authority->port != 0 && !authority->host.empty(), "an authority names somebody");
  check(std::ranges::all_of(authority->host,
                            [](char c) { return c > ' ' && c < 0x7f && c != '@' && c != '%' && c != '/'; }),
        "and nothing but a host");
  check(parse_host(authority->host) == authority->host, "the host is in its canonical form");
  std::string printed;
  http::append_authority(printed, *authority, 0);
  check(http::parse_authority(printed, std::nullopt) == *authority, "what is written is the same authority");
  check(parse_endpoint(printed) == *authority, "as configuration files read it");
  printed.clear();
  http::append_authority(printed, *authority, 80);
  check(http::parse_authority(printed, 80) == *authority, "and so it is with its port left out");
}

}  // namespace culvert::fuzz
