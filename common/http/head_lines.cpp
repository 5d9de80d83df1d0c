// SPDX-License-Identifier: Apache-2.0
#include "common/http/head_lines.hpp"

#include <algorithm>

#include <fmt/core.h>

#include "common/http/characters.hpp"

namespace culvert::http {

std::string describe_byte(char byte, std::size_t index, std::size_t line) {
  return fmt::format("byte 0x{:02x} at position {} of line {}", static_cast<unsigned char>(byte), index + 1, line);
}

HeadLines::Found HeadLines::next(std::string_view received, std::size_t line_bytes_max, std::string_view& line) {
  // The CR may be one byte behind the longest line.
  const std::size_t line_end_max = line_at_ + line_bytes_max + 1;
  const std::size_t end = std::min({received.size(), line_end_max, head_bytes_max_});
  searched_ = find_control(received.substr(0, end), searched_);
  if (searched_ == end) {
    if (end == received.size() && end < line_end_max) return Found::need_more;
    return end == line_end_max ? Found::line_too_long : Found::head_too_long;
  }
  if (received[searched_] != '\r') return Found::bad_byte;
  if (searched_ + 1 == head_bytes_max_) {
    return searched_ + 1 == received.size() ? Found::need_more : Found::head_too_long;
  }
  if (searched_ + 1 == received.size()) return Found::need_more;
  if (received[searched_ + 1] != '\n') return Found::bad_byte;
  line = received.substr(line_at_, searched_ - line_at_);
  line_at_ = searched_ += 2;
  ++count_;
  return Found::line;
}

}  // namespace culvert::http
