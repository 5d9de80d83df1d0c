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

/// Writes what surrounds body bytes, so that the bytes themselves are sent without a copy. It counts them, so that no
/// body is longer or shorter than its head declares: a receiver must not take a cut-off body for a complete one.
class BodyWriter {
 public:
  /// `length` is used for Transfer::length only.
  BodyWriter(Transfer transfer, std::uint64_t length) : transfer_(transfer), remaining_(length) {}

  /// Bytes before and behind a piece of data, at most chunk_head_bytes_max and two. Empty unless the body is chunked.
  struct Wrapping {
    std::string_view before;  ///< Valid until the next call.
    std::string_view behind;
  };
  static constexpr std::size_t chunk_head_bytes_max = 18;

  /// Announces `size` bytes of data; 0 has no effect. Returns false if that is more than the head declared: the
  /// connection must be cut off.
  bool wrap(std::size_t size, Wrapping& wrapping);

  /// Ends the body. Appends its end to `out`, with the trailers if it is chunked. Returns false if the body is shorter
  /// than the head declared: the connection must be cut off.
  bool finish(std::string& out, const Fields& trailers);

 private:
  Transfer transfer_;
  std::uint64_t remaining_;
  std::array<char, chunk_head_bytes_max> chunk_head_{};
};

}  // namespace culvert::http
