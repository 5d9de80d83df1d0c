// SPDX-License-Identifier: Apache-2.0
#include "common/http/body_reader.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/http/characters.hpp"
#include "common/http/field_names.hpp"
#include "common/http/head_facts.hpp"

namespace culvert::http {

BodyReader::BodyReader(Transfer transfer, std::uint64_t length, Padding padding, const HeadLimits& limits)
    : limits_(limits), padding_(padding), is_chunked_(transfer == Transfer::chunked), lines_(limits.trailer_bytes_max) {
  switch (transfer) {
    case Transfer::none: break;
    case Transfer::length:
      remaining_ = length;
      if (length > 0) state_ = State::data;
      break;
    case Transfer::chunked: state_ = State::size_start; break;
    case Transfer::until_close: state_ = State::until_close; break;
  }
}

BodyReader::Piece BodyReader::next(std::span<const std::byte> input) {
  std::size_t used = 0;
  for (;;) {
    if (state_ == State::complete) return {Piece::Kind::end, used, {}};
    if (state_ == State::refused) return {Piece::Kind::refused, used, {}};
    if (used == input.size()) return {Piece::Kind::need_more, used, {}};
    if (state_ == State::until_close) return {Piece::Kind::data, input.size(), input};
    if (state_ == State::data) {
      const std::size_t size = std::min<std::uint64_t>(remaining_, input.size() - used);
      remaining_ -= size;
      if (remaining_ == 0) state_ = is_chunked_ ? State::data_cr : State::complete;
      return {Piece::Kind::data, used + size, input.subspan(used, size)};
    }
    if (state_ == State::trailers) {
      used += take_trailers(input.subspan(used));
      continue;
    }
    flaw_ = step(static_cast<char>(input[used]));
    ++used;
    if (flaw_ != nullptr) state_ = State::refused;
  }
}

bool BodyReader::finish() {
  if (state_ == State::until_close) state_ = State::complete;
  return state_ == State::complete;
}

Flaw BodyReader::step(char c) {
  const auto expect = [&](char wanted, State next) -> Flaw {
    if (c != wanted) return &refusals::bad_chunk;
    state_ = next;
    return nullptr;
  };
  switch (state_) {
    case State::data_cr: return expect('\r', State::data_lf);
    case State::data_lf: return expect('\n', State::size_start);
    case State::size_start:
      remaining_ = 0;
      size_digits_ = 0;
      return step_size(c);
    case State::size:
      if (hex_value(c) >= 0) return step_size(c);
      return count_extension(is_space(c) ? State::size_gap : after_extension(c), c);
    case State::size_gap:
      if (c == '\r' && padding_ == Padding::refused) return &refusals::bad_chunk;
      return count_extension(is_space(c) ? state_ : after_extension(c), c);
    case State::extension_gap:
      return count_extension(is_space(c) ? state_ : c == ';' ? State::extension_start : State::refused, c);
    case State::extension_start:
      return count_extension(is_space(c) ? state_ : is(token_character, c) ? State::extension_name : State::refused, c);
    case State::extension_name: return count_extension(is(token_character, c) ? state_ : after_name(c), c);
    case State::extension_name_gap:
      // CR is not allowed here: white space is only valid before a further part.
      return count_extension(is_space(c) ? state_ : c == '\r' ? State::refused : after_name(c), c);
    case State::value_start: return count_extension(after_value_start(c), c);
    case State::value: return count_extension(is(token_character, c) ? state_ : after_extension(c), c);
    case State::quoted: {
      const State next = c == '"' ? State::quoted_end : c == '\\' ? State::quoted_pair : state_;
      return count_extension(is(value_character, c) ? next : State::refused, c);
    }
    case State::quoted_pair: return count_extension(is(value_character, c) ? State::quoted : State::refused, c);
    case State::quoted_end: return count_extension(after_extension(c), c);
    case State::size_lf: return expect('\n', remaining_ > 0 ? State::data : State::trailers);
    case State::until_close:
    case State::data:
    case State::trailers:
    case State::complete:
    case State::refused: break;
  }
  return &refusals::bad_chunk;
}

Flaw BodyReader::step_size(char c) {
  constexpr unsigned digits_max = 16;
  const int digit = hex_value(c);
  if (digit < 0 || ++size_digits_ > digits_max) return &refusals::bad_chunk;
  remaining_ = remaining_ * 16 + static_cast<std::uint64_t>(digit);
  if (remaining_ > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return &refusals::bad_chunk;
  state_ = State::size;
  return nullptr;
}

/// What may follow the size, and each whole extension.
BodyReader::State BodyReader::after_extension(char c) const {
  if (c == '\r') return State::size_lf;
  if (c == ';') return State::extension_start;
  return is_space(c) ? State::extension_gap : State::refused;
}

BodyReader::State BodyReader::after_name(char c) const {
  if (c == '=') return State::value_start;
  return is_space(c) ? State::extension_name_gap : after_extension(c);
}

BodyReader::State BodyReader::after_value_start(char c) const {
  if (is_space(c)) return State::value_start;
  if (c == '"') return State::quoted;
  return is(token_character, c) ? State::value : State::refused;
}

Flaw BodyReader::count_extension(State state, char c) {
  if (state == State::refused) return &refusals::bad_chunk;
  state_ = state;
  if (state == State::size_lf) {
    extension_bytes_ = 0;
    return nullptr;
  }
  if (state == State::extension_start && c == ';') extension_bytes_ = 0;
  ++extension_bytes_;
  ++extensions_bytes_;
  const bool is_too_long =
      extension_bytes_ > limits_.chunk_extension_bytes_max || extensions_bytes_ > limits_.chunk_extensions_bytes_max;
  return is_too_long ? &refusals::chunk_extension_too_long : nullptr;
}

std::size_t BodyReader::take_trailers(std::span<const std::byte> input) {
  // With one byte more than allowed, HeadLines reports that it is too long, at the same byte however the input was
  // split.
  const std::size_t room = limits_.trailer_bytes_max + 1 - std::min(trailer_text_.size(), limits_.trailer_bytes_max);
  const auto line_feed = std::ranges::find(input, std::byte{'\n'});
  const std::size_t line_bytes =
      static_cast<std::size_t>(line_feed - input.begin()) + (line_feed == input.end() ? 0 : 1);
  const std::size_t used = std::min(room, line_bytes);
  for (const std::byte byte : input.first(used)) trailer_text_ += static_cast<char>(byte);
  std::string_view line;
  switch (lines_.next(trailer_text_, limits_.line_bytes_max, line)) {
    case HeadLines::Found::need_more: return used;
    case HeadLines::Found::bad_byte: flaw_ = &refusals::bad_byte; break;
    case HeadLines::Found::line_too_long:
    case HeadLines::Found::head_too_long: flaw_ = &refusals::trailers_too_long; break;
    case HeadLines::Found::line: flaw_ = take_trailer_line(line); break;
  }
  if (flaw_ != nullptr) state_ = State::refused;
  return used;
}

Flaw BodyReader::take_trailer_line(std::string_view line) {
  if (line.empty()) {
    state_ = State::complete;
    return nullptr;
  }
  if (++trailer_lines_ > limits_.fields_max) return &refusals::trailers_too_long;
  Fields::Field field;
  if (const Flaw flaw = split_field_line(line, field)) return flaw;
  if (!is_forbidden_in_trailers(field.name)) trailers_.add(field.name, field.value);
  return nullptr;
}

}  // namespace culvert::http
