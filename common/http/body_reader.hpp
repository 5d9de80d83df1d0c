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

/// One body as it arrives on one connection: by length, in chunks (RFC 9112 7.1, by its very grammar: threats B4), or
/// until the connection closes. Data is given out where it lies in the input; what has begun and is not complete (a
/// chunk's size, a trailer) is remembered here, so that all input can be let go. The pieces' bytes, put together, do
/// not depend on how the input was cut.
class BodyReader {
 public:
  /// `length` counts for Transfer::length only.
  BodyReader(Transfer transfer, std::uint64_t length, const HeadLimits& limits = {});

  struct Piece {
    enum class Kind : std::uint8_t {
      data,       ///< Some of the body. There may be more in the input.
      need_more,  ///< All input is used.
      end,        ///< The body is complete; input that is not used belongs to the next message.
      refused,    ///< refusal() says why. The connection is of no use any more.
    };
    Kind kind = Kind::need_more;
    std::size_t used = 0;             ///< So much of the input is done with, `data` included.
    std::span<const std::byte> data;  ///< Kind::data: a part of the input, never empty.
  };
  /// What stands at the front of `input`, which may be empty. Call again with the rest until it is need_more or end.
  Piece next(std::span<const std::byte> input);

  /// The peer has closed its direction in order. True: so the body is complete; false: it was cut off.
  bool finish();

  bool is_intact() const { return state_ != State::refused; }
  bool is_complete() const { return state_ == State::complete; }
  /// When complete, of a chunked body: those that may be told (is_forbidden_in_trailers).
  const Fields& trailers() const { return trailers_; }
  const Refusal& refusal() const { return *flaw_; }

 private:
  enum class State : std::uint8_t {
    until_close,
    data,  ///< remaining_ bytes of it.
    // Between two chunks.
    data_cr,
    data_lf,
    size_start,
    size,
    extension_gap,  ///< White space that only another extension may follow.
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
  /// One byte of a chunk's frame.
  Flaw step(char c);
  Flaw step_size(char c);
  State after_extension(char c) const;
  State after_name(char c) const;
  State after_value_start(char c) const;
  Flaw count_extension(State state, char c);
  /// Takes trailer lines from the front of `input`. Returns how many bytes it used.
  std::size_t take_trailers(std::span<const std::byte> input);
  Flaw take_trailer_line(std::string_view line);

  HeadLimits limits_;
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
