// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/error.hpp"

namespace culvert {

/// A host and a port as somebody wrote them; nothing is resolved here. `host` is a lower-case name without trailing dot, or an IP
/// literal without brackets.
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// "host:port", "1.2.3.4:80" or "[::1]:80". Refuses an empty host, port 0 (unless `allow_port_zero`, for tests that bind any port), userinfo, white space and anything behind the port:
/// code "endpoint.malformed".
Result<Endpoint> parse_endpoint(std::string_view text, bool allow_port_zero = false);

/// The reverse of parse_endpoint; an IPv6 literal gets its brackets.
std::string to_string(const Endpoint& endpoint);

/// True when `host` is a literal of 127.0.0.0/8, ::1, or the name "localhost".
bool is_loopback(std::string_view host);

/// One port, or an inclusive range of them.
struct PortRange {
  std::uint16_t low = 0;
  std::uint16_t high = 0;

  bool contains(std::uint16_t port) const { return low <= port && port <= high; }
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

/// A host with one port or a range: "erp:443", "erp:8000-8010", "[::1]:1-5".
struct EndpointRange {
  std::string host;
  PortRange ports;

  friend bool operator==(const EndpointRange&, const EndpointRange&) = default;
};
Result<EndpointRange> parse_endpoint_range(std::string_view text);
std::string to_string(const EndpointRange& range);

}  // namespace culvert
