// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>

namespace culvert::protocol {

/// Big-endian integers at the start of a span. The caller has checked that the span is long enough.
template <std::unsigned_integral T>
T load(std::span<const std::byte> from) {
  T value;
  std::memcpy(&value, from.data(), sizeof value);
  return std::endian::native == std::endian::little ? std::byteswap(value) : value;
}

template <std::unsigned_integral T>
void store(std::span<std::byte> to, T value) {
  if (std::endian::native == std::endian::little) value = std::byteswap(value);
  std::memcpy(to.data(), &value, sizeof value);
}

}  // namespace culvert::protocol
