// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/http/fields.hpp"
#include "common/http/head.hpp"

namespace culvert::http {

/// What goes around body bytes on their way out, so that the bytes themselves are sent from where they lie. Keeps
/// count, so that no body is longer or shorter than its head said: nobody may take a cut-off body for a whole one.
class BodyWriter {
 public:
  /// `length` counts for Transfer::length only.
  BodyWriter(Transfer transfer, std::uint64_t length) : transfer_(transfer), remaining_(length) {}

  /// Before and behind a piece of data. Never more than chunk_head_bytes_max and two bytes; nothing but for chunks.
  struct Wrapping {
    std::string_view before;  ///< Valid until the next call.
    std::string_view behind;
  };
  static constexpr std::size_t chunk_head_bytes_max = 18;

  /// `size` bytes of data come next; 0 is nothing at all. False: that is more than the head declared, and the
  /// connection must be cut off.
  bool wrap(std::size_t size, Wrapping& wrapping);

  /// The body is complete. Appends its end to `out`, with the trailers where there can be some. False: it is shorter
  /// than the head declared, and the connection must be cut off.
  bool finish(std::string& out, const Fields& trailers);

 private:
  Transfer transfer_;
  std::uint64_t remaining_;
  std::array<char, chunk_head_bytes_max> chunk_head_{};
};

}  // namespace culvert::http
