// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace culvert::http {

/// Names a byte for an error: "byte 0x0b at position 12 of line 3". `index` counts from 0, the text from 1.
std::string describe_byte(char byte, std::size_t index, std::size_t line);

/// Splits a head into lines while it arrives. It looks at each byte once, in order, and stops at the first invalid one,
/// so that the result does not depend on how the bytes arrived. Lines end in CR LF; no other control byte except HTAB
/// is accepted (threats B5).
class HeadLines {
 public:
  explicit HeadLines(std::size_t head_bytes_max) : head_bytes_max_(head_bytes_max) {}

  enum class Found : std::uint8_t { line, need_more, bad_byte, line_too_long, head_too_long };
  /// Stores the next line, without its end, in `line`. `received` is everything that has arrived since the head's first
  /// byte: the bytes of the last call, and possibly more. `line_bytes_max` is the limit for this line.
  Found next(std::string_view received, std::size_t line_bytes_max, std::string_view& line);

  /// Number of bytes in the lines so far, their ends included.
  std::size_t used() const { return line_at_; }
  /// Number of lines so far.
  std::size_t count() const { return count_; }
  /// After Found::bad_byte: which byte, and where.
  std::string describe_bad_byte(std::string_view received) const {
    return describe_byte(received[searched_], searched_ - line_at_, count_ + 1);
  }
  void set_head_bytes_max(std::size_t bytes) { head_bytes_max_ = bytes; }
  void reset() { line_at_ = searched_ = count_ = 0; }

 private:
  std::size_t head_bytes_max_;
  std::size_t count_ = 0;
  std::size_t line_at_ = 0;
  std::size_t searched_ = 0;  ///< At or behind line_at_; the bytes before it are valid.
};

}  // namespace culvert::http
