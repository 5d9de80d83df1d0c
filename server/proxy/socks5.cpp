// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/socks5.hpp"

#include <algorithm>
#include <array>
#include <cstring>  // explicit_bzero
#include <optional>
#include <utility>

#include <arpa/inet.h>

#include "protocol/check.hpp"

namespace culvert::server {

using protocol::Reason;

namespace {

constexpr char version = 5;
constexpr char credentials_version = 1;  // RFC 1929 2, and the token's method.
constexpr char method_none = 0x00;
constexpr char method_password = 0x02;
constexpr char method_token = '\x80';
constexpr char no_method = '\xff';
constexpr char command_connect = 1;
constexpr std::uint8_t address_v4 = 1;
constexpr std::uint8_t address_domain = 3;
constexpr std::uint8_t address_v6 = 4;

void wipe(std::string& secret) {
  ::explicit_bzero(secret.data(), secret.capacity());
  secret.clear();
}

std::uint8_t number(char byte) {
  return static_cast<std::uint8_t>(byte);
}

/// Decodes RFC 4648 4 with padding; refuses everything else.
std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  std::uint32_t group = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_padding = i >= text.size() - padding;
    const std::size_t value = is_padding ? 0 : letters.find(text[i]);
    if (value == letters.npos) return std::nullopt;
    group = group << 6 | static_cast<std::uint32_t>(value);
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(group >> shift & 0xff);
    group = 0;
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

/// Returns the target's host. A domain that is an address means the address, with or without the brackets of a URL. The
/// agent decides whether it is exposed (threats C2).
Result<std::string> host_of(std::uint8_t type, std::string_view bytes) {
  if (type == address_domain) {
    const bool is_bracketed = bytes.starts_with('[') && bytes.ends_with(']') && bytes.contains(':');
    return parse_host(is_bracketed ? bytes.substr(1, bytes.size() - 2) : bytes);
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(type == address_v4 ? AF_INET : AF_INET6, bytes.data(), text.data(), text.size());
  return parse_host(text.data());
}

}  // namespace

Socks5::Socks5(Methods offered) : offered_(offered) {
  expect(Part::greeting, 2);
}

Socks5::~Socks5() {
  wipe(bytes_);
  wipe(secret_);
}

Socks5::Step Socks5::expect(Part part, std::size_t bytes) {
  part_ = part;
  part_bytes_ = bytes;
  wipe(bytes_);
  bytes_.reserve(bytes);  // A string that grows would leave a copy of the secret.
  return Step::need_more;
}

Socks5::Step Socks5::feed(std::span<const std::byte> bytes) {
  check(!bytes.empty() && bytes.size() <= wanted(), "no more is fed than is wanted");
  bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return wanted() > 0 ? Step::need_more : read_part(bytes_);
}

Socks5::Step Socks5::read_part(std::string_view part) {
  switch (part_) {
    case Part::none: break;
    case Part::greeting:
      if (part[0] != version)
        return refuse("version");  // SOCKS 4, or not SOCKS: the client would not understand an answer.
      if (part[1] == 0) return choose_method({});
      return expect(Part::methods, number(part[1]));
    case Part::methods: return choose_method(part);
    case Part::password_head:
    case Part::user:
    case Part::password:
    case Part::token_head:
    case Part::token: return read_credentials(part_, part);
    case Part::location: return read_location(part);
    case Part::request: return read_request(part);
    case Part::domain_length: return expect(Part::address, number(part[0]) + 2u);
    case Part::address: return read_address(part);
  }
  std::unreachable();
}

Socks5::Step Socks5::choose_method(std::string_view methods) {
  const auto has = [methods](bool offered, char method) { return offered && methods.contains(method); };
  output_ = version;
  if (has(offered_.token, method_token)) {
    output_ += method_token;
    by_token_ = true;
    return expect(Part::token_head, 5);
  }
  if (has(offered_.password, method_password)) {
    output_ += method_password;
    return expect(Part::password_head, 2);
  }
  output_ += has(offered_.none, method_none) ? method_none : no_method;
  if (output_.back() == no_method) return refuse("no_method");
  return expect(Part::request, 4);
}

Socks5::Step Socks5::read_credentials(Part part, std::string_view bytes) {
  if (part == Part::password_head) {
    if (bytes[0] != credentials_version) return verdict(false);
    return expect(Part::user, number(bytes[1]) + 1u);  // Includes the length of the password.
  }
  if (part == Part::user) {
    const std::size_t length = number(bytes.back());
    user_ = bytes.substr(0, bytes.size() - 1);
    if (length == 0) return read_empty_password();
    return expect(Part::password, length);
  }
  if (part == Part::password) {
    keep_secret(bytes.size());
    part_ = Part::none;
    return Step::check_password;
  }
  if (part == Part::token_head) {
    std::size_t length = 0;
    for (const char byte : bytes.substr(1)) length = length << 8 | number(byte);
    if (bytes[0] != credentials_version || length == 0 || length > token_bytes_max) return verdict(false);
    return expect(Part::token, length + 1);  // Includes the length of the location.
  }
  const std::size_t length = number(bytes.back());
  keep_secret(bytes.size() - 1);
  return length == 0 ? read_location({}) : expect(Part::location, length);
}

/// Java offers a login even if it has none, and then sends the name of the operating system's user and no password.
Socks5::Step Socks5::read_empty_password() {
  user_.clear();
  return verdict(offered_.none);
}

/// Keeps the first `bytes` of the part as the secret.
void Socks5::keep_secret(std::size_t bytes) {
  secret_.assign(bytes_, 0, bytes);
  wipe(bytes_);
}

Socks5::Step Socks5::read_location(std::string_view base64) {
  auto location = decode_base64(base64);
  if (!location) return verdict(false);
  location_ = std::move(*location);
  part_ = Part::none;
  return Step::check_token;
}

Socks5::Step Socks5::verdict(bool is_accepted) {
  wipe(secret_);
  output_ += credentials_version;
  output_ += static_cast<char>(is_accepted ? 0 : 1);
  return is_accepted ? expect(Part::request, 4) : refuse("credentials");
}

Socks5::Step Socks5::read_request(std::string_view head) {
  if (head[0] != version || head[2] != 0) return refuse_request(Socks5Reply::failed, "malformed");
  if (head[1] != command_connect) return refuse_request(Socks5Reply::command_not_supported, "command");
  address_type_ = number(head[3]);
  constexpr std::size_t port_bytes = 2;
  switch (address_type_) {
    case address_v4: return expect(Part::address, sizeof(in_addr) + port_bytes);
    case address_v6: return expect(Part::address, sizeof(in6_addr) + port_bytes);
    case address_domain: return expect(Part::domain_length, 1);
    default: return refuse_request(Socks5Reply::address_not_supported, "address_type");
  }
}

Socks5::Step Socks5::read_address(std::string_view address) {
  const std::string_view port = address.substr(address.size() - 2);
  auto host = host_of(address_type_, address.substr(0, address.size() - 2));
  target_.port = static_cast<std::uint16_t>(number(port[0]) << 8 | number(port[1]));
  if (!host || target_.port == 0) return refuse_request(Socks5Reply::not_allowed, "target");
  target_.host = std::move(*host);
  part_ = Part::none;
  return Step::connect;
}

Socks5::Step Socks5::refuse(std::string_view why) {
  part_ = Part::none;
  why_ = why;
  return Step::refused;
}

Socks5::Step Socks5::refuse_request(Socks5Reply code, std::string_view why) {
  reply(code);
  return refuse(why);
}

void Socks5::reply(Socks5Reply code) {
  // Code 5 means a failed authentication in the token's method.
  if (by_token_ && code == Socks5Reply::refused) code = Socks5Reply::unreachable;
  output_ += version;
  output_ += static_cast<char>(code);
  // The local address of the agent's connection is not disclosed: 0.0.0.0:0.
  output_.append({0, address_v4, 0, 0, 0, 0, 0, 0});
}

std::string Socks5::next_output() {
  return std::exchange(output_, {});
}

Socks5Reply socks5_reply_of(Reason reason) {
  using enum Socks5Reply;
  switch (reason) {
    case Reason::not_exposed:
    case Reason::no_such_service:
    case Reason::kind_unknown: return not_allowed;
    case Reason::no_agent: return no_agent;
    case Reason::target_refused: return refused;
    case Reason::target_unreachable:
    case Reason::target_timed_out:
    case Reason::target_name_unknown:
    case Reason::target_tls_failed: return unreachable;
    case Reason::none:
    case Reason::protocol:
    case Reason::flow_control:
    case Reason::frame_too_large:
    case Reason::version:
    case Reason::wrong_replica:
    case Reason::stale_epoch:
    case Reason::replaced:
    case Reason::denied:
    case Reason::timed_out:
    case Reason::flood:
    case Reason::shutdown:
    case Reason::internal:
    case Reason::ids_exhausted:
    case Reason::configuration:
    case Reason::overloaded:
    case Reason::draining:
    case Reason::cancelled:
    case Reason::target_reset:
    case Reason::target_not_http:
    case Reason::aborted:
    case Reason::tunnel_lost:
    case Reason::stalled:
    case Reason::speaks_http:
    case Reason::ambiguous_path:
    case Reason::ambiguous_backslash:
    case Reason::agent_disabled:
    case Reason::not_enrolled:
    case Reason::certificate_expired:
    case Reason::token_refused:
    case Reason::token_used:
    case Reason::token_expired:
    case Reason::too_many_attempts:
    case Reason::request_refused:
    case Reason::renewal_over:
    case Reason::enrolment_unavailable: return failed;
  }
  std::unreachable();
}

}  // namespace culvert::server
