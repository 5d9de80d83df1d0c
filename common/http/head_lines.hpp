// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace culvert::http {

/// Cuts a head, of which more and more arrives, into its lines. Looks at each byte once, in order, and stops at the
/// first that is wrong, so that its answers do not depend on how the bytes came. Lines end in CR LF; no other control
/// byte but HTAB gets past (threats B5).
class HeadLines {
 public:
  HeadLines(std::size_t head_bytes_max, std::size_t line_bytes_max)
      : head_bytes_max_(head_bytes_max), line_bytes_max_(line_bytes_max) {}

  enum class Found : std::uint8_t { line, need_more, bad_byte, line_too_long, head_too_long };
  /// The next line, without its end, into `line`. `received` is all that has come since the head's first byte: what was
  /// there at the last call and maybe more.
  Found next(std::string_view received, std::string_view& line);

  /// How many bytes the lines had so far, their ends included.
  std::size_t used() const { return line_at_; }
  void reset() { line_at_ = searched_ = 0; }

 private:
  std::size_t head_bytes_max_;
  std::size_t line_bytes_max_;
  std::size_t line_at_ = 0;
  std::size_t searched_ = 0;  ///< At or behind line_at_; what is before it is good.
};

}  // namespace culvert::http
