// SPDX-License-Identifier: Apache-2.0
#include "common/net/address_rule.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/net/outside.hpp"

namespace culvert {

namespace ip = boost::asio::ip;

namespace {

struct Block {
  std::uint32_t first;
  unsigned bits;
};
/// What IANA's registry of special-purpose addresses does not call globally reachable.
constexpr Block not_public_v4[] = {
    {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
    {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
    {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4},
};

bool is_public_v4(std::uint32_t address) {
  return std::ranges::none_of(
      not_public_v4, [address](const Block& block) { return (address ^ block.first) >> (32 - block.bits) == 0; });
}

std::uint32_t word(const ip::address_v6::bytes_type& bytes, std::size_t at) {
  return (std::uint32_t{bytes[at]} << 24) | (std::uint32_t{bytes[at + 1]} << 16) | (std::uint32_t{bytes[at + 2]} << 8) |
         bytes[at + 3];
}

/// The IPv4 address that a translator, a tunnel or the kernel makes of it: mapped, compatible, NAT64 (64:ff9b::/96),
/// 6to4 (2002::/16).
std::optional<std::uint32_t> v4_inside(const ip::address_v6::bytes_type& bytes) {
  const bool is_short = word(bytes, 0) == 0 && word(bytes, 4) == 0;
  if (is_short && (word(bytes, 8) == 0xffff || word(bytes, 8) == 0)) return word(bytes, 12);
  if (word(bytes, 0) == 0x0064ff9b && word(bytes, 4) == 0 && word(bytes, 8) == 0) return word(bytes, 12);
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return word(bytes, 2);
  return std::nullopt;
}

bool is_public_v6(const ip::address_v6::bytes_type& bytes) {
  if (const auto inner = v4_inside(bytes)) return is_public_v4(*inner);
  if ((bytes[0] & 0xe0) != 0x20) return false;                                     // Only 2000::/3 is global.
  if (word(bytes, 0) == 0x20010000 || word(bytes, 0) == 0x20010db8) return false;  // Teredo, documentation
  return (bytes[0] != 0x20 || bytes[1] != 0x01 || bytes[2] > 0x01);                // 2001::/23, protocols
}

}  // namespace

bool is_public(const ip::address& address) {
  const bool is_public =
      address.is_v4() ? is_public_v4(address.to_v4().to_uint()) : is_public_v6(address.to_v6().to_bytes());
  return is_public && is_outside(address);
}

}  // namespace culvert
