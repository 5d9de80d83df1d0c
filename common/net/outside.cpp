// SPDX-License-Identifier: Apache-2.0
#include "common/net/outside.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <ranges>

#include <boost/asio/ip/udp.hpp>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/net/unique_fd.hpp"

namespace culvert {

namespace ip = boost::asio::ip;

namespace {

/// Amazon's address is in the unique local range; those of other clouds are link-local.
const ip::address_v6 metadata_v6 = ip::make_address_v6("fd00:ec2::254");

bool is_special(const ip::address& address) {
  if (address.is_loopback() || address.is_multicast() || address.is_unspecified()) return true;
  if (address.is_v6()) return address.to_v6().is_link_local() || address.to_v6() == metadata_v6;
  const auto bytes = address.to_v4().to_bytes();
  return bytes[0] == 0 || (bytes[0] == 169 && bytes[1] == 254) || address.to_v4() == ip::address_v4::broadcast();
}

/// The IPv4 address in ::ffff:1.2.3.4 (mapped) and ::1.2.3.4 (compatible).
std::optional<ip::address_v4> v4_inside(const ip::address_v6& address) {
  const auto bytes = address.to_bytes();
  if (!address.is_v4_mapped() && std::ranges::any_of(bytes | std::views::take(12), [](auto byte) { return byte != 0; }))
    return std::nullopt;
  ip::address_v4::bytes_type last;
  std::ranges::copy(bytes | std::views::drop(12), last.begin());
  return ip::make_address_v4(last);
}

bool is_same(const sockaddr& socket, const ip::address& address) {
  if (socket.sa_family == AF_INET && address.is_v4())
    return reinterpret_cast<const sockaddr_in&>(socket).sin_addr.s_addr == htonl(address.to_v4().to_uint());
  if (socket.sa_family != AF_INET6 || !address.is_v6()) return false;
  ip::address_v6::bytes_type bytes;
  std::ranges::copy(reinterpret_cast<const sockaddr_in6&>(socket).sin6_addr.s6_addr, bytes.begin());
  return bytes == address.to_v6().to_bytes();
}

/// A host can bind only its own addresses. This test needs no netlink socket, which the services' sandbox forbids.
bool can_bind(const ip::address& address) {
  const ip::udp::endpoint local(address, 0);
  const UniqueFd probe(::socket(local.protocol().family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return !probe || ::bind(probe.get(), local.data(), static_cast<socklen_t>(local.size())) == 0 ||
         errno != EADDRNOTAVAIL;
}

/// If any address can be bound (net.ipv4.ip_nonlocal_bind), every address counts as our own unless getifaddrs() says
/// otherwise.
bool is_own(const ip::address& address) {
  if (!can_bind(address)) return false;
  const auto never_ours =
      address.is_v4() ? ip::make_address("192.0.2.1") : ip::make_address("2001:db8::1");  // RFC 5737
  if (!can_bind(never_ours)) return true;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return true;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all(first, ::freeifaddrs);
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr != nullptr && is_same(*each->ifa_addr, address)) return true;
  }
  return false;
}

}  // namespace

bool is_outside(const ip::address& address) {
  if (is_special(address) || is_own(address)) return false;
  const auto inner = address.is_v6() ? v4_inside(address.to_v6()) : std::nullopt;
  return !inner || is_outside(*inner);
}

}  // namespace culvert
