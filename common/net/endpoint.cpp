// SPDX-License-Identifier: Apache-2.0
#include "common/net/endpoint.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <utility>

#include <arpa/inet.h>
#include <fmt/core.h>

namespace culvert {

namespace {

constexpr std::size_t name_length_max = 253;  // RFC 1035 2.3.4, without the trailing dot.
constexpr std::size_t label_length_max = 63;
constexpr std::size_t shown_length_max = 300;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::unexpected<Error> malformed(std::string_view text, std::string_view why) {
  // Userinfo may contain a password, and unprintable bytes do not belong in a log.
  const bool showable = text.size() <= shown_length_max && text.find('@') == text.npos &&
                        std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
  if (!showable) return fail("endpoint.malformed", std::string(why));
  return fail("endpoint.malformed", fmt::format("\"{}\": {}", text, why));
}

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= label_length_max && label.front() != '-' && label.back() != '-' &&
         std::ranges::all_of(label, [](char c) { return is_digit(c) || is_letter(c) || c == '-' || c == '_'; });
}

// As in the WHATWG URL standard, a host whose last label is a number is an IPv4 address or invalid. inet_aton() and the
// like read "127.1" and "0x7f000001" as loopback, which would get past every check by name.
bool ends_in_number(std::string_view name) {
  const std::string_view last = name.substr(name.find_last_of('.') + 1);
  return std::ranges::all_of(last, is_digit) || last.starts_with("0x");
}

/// The bytes of an IP literal, 4 or 16 of them; none if `text` is not a literal.
struct Address {
  std::array<unsigned char, 16> bytes{};
  int family = AF_UNSPEC;
};
constexpr std::array<unsigned char, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/// An IPv4-mapped IPv6 address is its IPv4 address.
Address address_of(std::string_view text) {
  Address address;
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  // inet_pton() reads a C string: it would ignore what follows a zero byte.
  if (text.size() >= terminated.size() || text.find('\0') != text.npos) return address;
  std::ranges::copy(text, terminated.begin());
  const int family = text.find(':') == text.npos ? AF_INET : AF_INET6;
  if (inet_pton(family, terminated.data(), address.bytes.data()) == 1) address.family = family;
  if (address.family == AF_INET6 && std::ranges::equal(mapped_prefix, std::span(address.bytes).first<12>())) {
    address.family = AF_INET;
    std::copy_n(address.bytes.begin() + 12, 4, address.bytes.begin());
  }
  return address;
}
std::string printed(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(address.family, address.bytes.data(), text.data(), text.size());
}

struct Parts {
  std::string host;
  std::string_view port;
};

Result<Parts> split(std::string_view text) {
  if (text.find('@') != text.npos) return malformed(text, "a user name is not allowed here; write host:port");
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == text.npos) return malformed(text, "the bracket is not closed; write [::1]:80");
    const std::string_view literal = text.substr(1, close - 1);
    if (literal.find(':') == literal.npos)
      return malformed(text, "no IPv6 address between the brackets; write [::1]:80");
    auto host = parse_host(literal);
    if (!host) return malformed(text, host.error().text);
    if (close + 1 == text.size() || text[close + 1] != ':')
      return malformed(text, "a colon and a port must follow the bracket");
    return Parts{std::move(*host), text.substr(close + 2)};
  }
  const std::size_t colon = text.find(':');
  if (colon == text.npos) return malformed(text, "the port is missing; write host:port");
  if (text.find(':', colon + 1) != text.npos)
    return malformed(text, "more than one colon; write an IPv6 address in brackets: [::1]:80");
  auto host = parse_host(text.substr(0, colon));
  if (!host) return std::unexpected(host.error());
  return Parts{std::move(*host), text.substr(colon + 1)};
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return port;
}

constexpr std::string_view port_expected = "the port must be a number from 1 to 65535, and nothing may follow it";

std::string bracketed(const std::string& host) {
  return host.find(':') == host.npos ? host : "[" + host + "]";
}

}  // namespace

Result<std::string> parse_host(std::string_view text) {
  if (text.empty()) return malformed(text, "the host is missing");
  if (text.find('%') != text.npos) return malformed(text, "an address with a zone (%) cannot be used here");
  const bool has_colon = text.find(':') != text.npos;
  if (has_colon || ends_in_number(text)) {
    if (const Address address = address_of(text); address.family != AF_UNSPEC) return printed(address);
  }
  std::string name(text);
  if (name.ends_with('.')) name.pop_back();
  if (name.size() > name_length_max) return malformed(text, "a host name has at most 253 characters");
  for (std::string_view rest = name;;) {
    const std::size_t dot = rest.find('.');
    if (!is_label(rest.substr(0, dot)))
      return malformed(text, "not a host name: letters, digits, '-' and '_' between dots, at most 63 of them");
    if (dot == rest.npos) break;
    rest.remove_prefix(dot + 1);
  }
  std::ranges::transform(name, name.begin(), lower);
  if (ends_in_number(name)) return malformed(text, "neither an IP address in its usual form nor a name");
  return name;
}

Result<Endpoint> parse_endpoint(std::string_view text, bool allow_port_zero) {
  auto parts = split(text);
  if (!parts) return std::unexpected(parts.error());
  const auto port = parse_port(parts->port);
  if (!port || (*port == 0 && !allow_port_zero)) return malformed(text, port_expected);
  return Endpoint{std::move(parts->host), *port};
}

std::string to_string(const Endpoint& endpoint) {
  return fmt::format("{}:{}", bracketed(endpoint.host), endpoint.port);
}

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  const Address address = address_of(host);
  if (address.family == AF_INET) return address.bytes[0] == 127;
  return address.family == AF_INET6 && printed(address) == "::1";
}

Result<EndpointRange> parse_endpoint_range(std::string_view text) {
  auto parts = split(text);
  if (!parts) return std::unexpected(parts.error());
  const std::size_t dash = parts->port.find('-');
  const auto low = parse_port(parts->port.substr(0, dash));
  const auto high = dash == parts->port.npos ? low : parse_port(parts->port.substr(dash + 1));
  if (!low || !high || *low == 0 || *high == 0)
    return malformed(text, "the port must be a number from 1 to 65535, or two of them as low-high");
  if (*low > *high) return malformed(text, "the range of ports runs backwards");
  return EndpointRange{std::move(parts->host), {*low, *high}};
}

std::string to_string(const EndpointRange& range) {
  if (range.ports.low == range.ports.high) return fmt::format("{}:{}", bracketed(range.host), range.ports.low);
  return fmt::format("{}:{}-{}", bracketed(range.host), range.ports.low, range.ports.high);
}

}  // namespace culvert
