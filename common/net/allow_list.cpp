// SPDX-License-Identifier: Apache-2.0
#include "common/net/allow_list.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <span>

#include <fmt/core.h>

namespace culvert {

namespace ip = boost::asio::ip;

namespace {

ip::address without_mapping(const ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, address.to_v6());
  return address;
}

/// Calls `use` with the address's bytes, most significant first.
template <typename Use>
bool with_bytes(const ip::address& address, Use use) {
  if (address.is_v4()) {
    const auto bytes = address.to_v4().to_bytes();
    return use(std::span<const unsigned char>(bytes));
  }
  const auto bytes = address.to_v6().to_bytes();
  return use(std::span<const unsigned char>(bytes));
}

bool bit(std::span<const unsigned char> bytes, unsigned index) {
  return (bytes[index / 8] >> (7 - index % 8) & 1) != 0;
}

bool has_bits_beyond(const ip::address& address, unsigned prefix_bits) {
  return with_bytes(address, [&](auto bytes) {
    for (unsigned i = prefix_bits; i < bytes.size() * 8; ++i) {
      if (bit(bytes, i)) return true;
    }
    return false;
  });
}

bool share_prefix(const ip::address& left, const ip::address& right, unsigned prefix_bits) {
  if (left.is_v4() != right.is_v4()) return false;
  return with_bytes(left, [&](auto left_bytes) {
    return with_bytes(right, [&](auto right_bytes) {
      for (unsigned i = 0; i < prefix_bits; ++i) {
        if (bit(left_bytes, i) != bit(right_bytes, i)) return false;
      }
      return true;
    });
  });
}

}  // namespace

Result<void> AllowList::add(std::string_view cidr) {
  constexpr std::string_view code = "allow_from.malformed";
  const auto malformed = [&](std::string_view why) {
    return fail(std::string(code), fmt::format("\"{}\": {}", cidr, why));
  };
  if (!std::ranges::all_of(cidr, [](char c) { return c > ' ' && c <= '~'; }))
    return fail(std::string(code), "a network has no white space or odd bytes; write 10.0.0.0/8 or fd00::/8");

  const std::size_t slash = cidr.find('/');
  boost::system::error_code error;
  const ip::address written = ip::make_address(std::string(cidr.substr(0, slash)), error);
  if (error || cidr.find('%') != cidr.npos)
    return malformed("not a network or an IP address; write 10.0.0.0/8 or fd00::/8");

  // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const ip::address address = without_mapping(written);
  const unsigned mapping_bits = address.is_v4() && written.is_v6() ? 96 : 0;
  const unsigned prefix_max = written.is_v4() ? 32 : 128;
  unsigned prefix_bits = prefix_max;
  if (slash != cidr.npos) {
    const std::string_view digits = cidr.substr(slash + 1);
    const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix_bits);
    if (bad != std::errc() || end != digits.data() + digits.size() || prefix_bits > prefix_max)
      return malformed(fmt::format("the prefix length must be a number from 0 to {}", prefix_max));
  }
  if (prefix_bits < mapping_bits) return malformed("a network of IPv4 and IPv6 together; write each of them");
  if (has_bits_beyond(address, prefix_bits - mapping_bits))
    return malformed(
        fmt::format("the address has bits beyond the prefix of {}; write the network's own address", prefix_bits));
  networks_.push_back({address, prefix_bits - mapping_bits});
  return {};
}

bool AllowList::allows(const ip::address& source) const {
  const ip::address address = without_mapping(source);
  if (networks_.empty()) return address.is_loopback();
  return std::ranges::any_of(
      networks_, [&](const Network& network) { return share_prefix(network.address, address, network.prefix_bits); });
}

std::string AllowList::text() const {
  std::string all;
  for (const Network& network : networks_)
    all += fmt::format("{}{}/{}", all.empty() ? "" : " ", network.address.to_string(), network.prefix_bits);
  return all;
}

}  // namespace culvert
