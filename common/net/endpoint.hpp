// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/error.hpp"

namespace culvert {

/// A host and a port as written; nothing is resolved. `host` is a lower-case name without trailing dot, or an IP
/// literal in its canonical form ("::1", not "0:0::1"; "1.2.3.4", not "::ffff:1.2.3.4"), without brackets. Two
/// spellings of one host become the same text.
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// Parses a name or an IP literal without brackets into the form of Endpoint::host. Refuses zone ids ("fe80::1%eth0"),
/// texts that only a lenient resolver reads as an address ("127.1", "010.0.0.1", "0x7f.1", "2130706433") and labels
/// that are not `[A-Za-z0-9_-]+`: code "endpoint.malformed".
Result<std::string> parse_host(std::string_view text);

/// "host:port", "1.2.3.4:80" or "[::1]:80". Refuses an empty host, port 0 (unless `allow_port_zero`, for a listener
/// whose port the system chooses), userinfo, white space and anything behind the port: code "endpoint.malformed". The
/// error does not repeat a text with userinfo.
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
