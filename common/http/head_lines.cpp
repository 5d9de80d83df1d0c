// SPDX-License-Identifier: Apache-2.0
#include "common/http/head_lines.hpp"

#include <algorithm>

#include "common/http/characters.hpp"

namespace culvert::http {

HeadLines::Found HeadLines::next(std::string_view received, std::string_view& line) {
  // The CR may stand one behind the longest line.
  const std::size_t line_end_max = line_at_ + line_bytes_max_ + 1;
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
  return Found::line;
}

}  // namespace culvert::http
