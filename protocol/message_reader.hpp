// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/limits.hpp"
#include "protocol/reason.hpp"

namespace culvert::protocol {

/// One msgpack map of string keys, read strictly within the limits of SPEC 5 (threats A4 to A6). Views point into the
/// payload, which must outlive the reader.
class MessageReader {
 public:
  /// A value that no field of this version has; it was checked like any other.
  struct Other {};
  using Strings = std::vector<std::string_view>;
  using Binary = std::span<const std::byte>;
  using Value = std::variant<Other, std::uint64_t, bool, std::string_view, Binary, Strings>;

  /// `string_bytes_max` is the limit of a key or a string: message_string_bytes_max, except for HEAD.
  static std::expected<MessageReader, Reason> read(std::span<const std::byte> payload,
                                                   std::uint32_t string_bytes_max = message_string_bytes_max);

  /// The value of `key`, if it has the call's type and is within its limits; `fallback` if the key is missing. Anything
  /// else, also a missing key without a fallback, makes the message bad: ask bad() once, after the last key.
  std::uint64_t number(std::string_view key, std::uint64_t max, std::optional<std::uint64_t> fallback = std::nullopt);
  bool boolean(std::string_view key, bool fallback);
  std::string_view string(std::string_view key, std::size_t bytes_max,
                          std::optional<std::string_view> fallback = std::nullopt);
  Binary binary(std::string_view key, std::size_t bytes);
  /// Any size up to `bytes_max`; empty if the key is missing.
  Binary binary_up_to(std::string_view key, std::size_t bytes_max);
  Strings strings(std::string_view key, std::size_t count_max, std::size_t bytes_max);
  bool bad() const { return bad_; }

  struct Field {
    std::string_view key;
    Value value;
  };

 private:
  template <typename T>
  const T* find(std::string_view key, bool required);

  std::vector<Field> fields_;
  bool bad_ = false;
};

/// True when `text` is well-formed UTF-8 (RFC 3629).
bool is_utf8(std::string_view text);

}  // namespace culvert::protocol
