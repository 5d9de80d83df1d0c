// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/http/fields.hpp"
#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/head_lines.hpp"
#include "common/http/refusal.hpp"

namespace culvert::http {

/// Reads one body from one connection: by length, in chunks (strictly by the grammar of RFC 9112 7.1, threats B4), or
/// until the connection closes. Returned data is a part of the input, without a copy. An incomplete chunk size or
/// trailer is stored here, so the caller need not keep the input. The bytes of all pieces together do not depend on how
/// the input was split.
class BodyReader {
 public:
  /// White space between a chunk's size and the end of its line. All programs read it alike, and some servers send it.
  enum class Padding : std::uint8_t { refused, taken };

  /// `length` is used for Transfer::length only.
  BodyReader(Transfer transfer, std::uint64_t length, Padding padding = Padding::refused,
             const HeadLimits& limits = {});

  struct Piece {
    enum class Kind : std::uint8_t {
      data,       ///< A part of the body. The input may contain more.
      need_more,  ///< All input is used.
      end,        ///< The body is complete; unused input belongs to the next message.
      refused,    ///< refusal() says why. The connection cannot be used further.
    };
    Kind kind = Kind::need_more;
    std::size_t used = 0;             ///< Number of input bytes that were used, `data` included.
    std::span<const std::byte> data;  ///< Kind::data: a part of the input, never empty.
  };
  /// Returns the next piece of `input`, which may be empty. Call again with the rest until the kind is need_more, end
  /// or refused.
  Piece next(std::span<const std::byte> input);

  /// Call it when the peer has closed its direction cleanly. Returns true if the body is complete; false if it was cut
  /// off.
  bool finish();

  bool is_intact() const { return state_ != State::refused; }
  bool is_complete() const { return state_ == State::complete; }
  /// The trailers of a complete chunked body, without those that is_forbidden_in_trailers() refuses.
  const Fields& trailers() const { return trailers_; }
  const Refusal& refusal() const { return *flaw_; }

 private:
  enum class State : std::uint8_t {
    until_close,
    data,  ///< remaining_ bytes are left.
    // Between two chunks.
    data_cr,
    data_lf,
    size_start,
    size,
    size_gap,       ///< White space behind the size.
    extension_gap,  ///< White space, after which only another extension is valid.
    extension_start,
    extension_name,
    extension_name_gap,
    value_start,
    value,
    quoted,
    quoted_pair,
    quoted_end,
    size_lf,
    trailers,
    complete,
    refused,
  };
  /// Processes one byte of a chunk's frame.
  Flaw step(char c);
  Flaw step_size(char c);
  State after_extension(char c) const;
  State after_name(char c) const;
  State after_value_start(char c) const;
  Flaw count_extension(State state, char c);
  /// Reads trailer lines from the front of `input`. Returns the number of bytes used.
  std::size_t take_trailers(std::span<const std::byte> input);
  Flaw take_trailer_line(std::string_view line);

  HeadLimits limits_;
  Padding padding_;
  bool is_chunked_;
  State state_ = State::complete;
  std::uint64_t remaining_ = 0;
  unsigned size_digits_ = 0;
  std::size_t extension_bytes_ = 0;
  std::size_t extensions_bytes_ = 0;
  HeadLines lines_;
  std::size_t trailer_lines_ = 0;
  std::string trailer_text_;
  Fields trailers_;
  Flaw flaw_ = nullptr;
};

}  // namespace culvert::http
