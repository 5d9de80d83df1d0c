// SPDX-License-Identifier: Apache-2.0
#include "protocol/message_writer.hpp"

#include <algorithm>

#include "protocol/limits.hpp"
#include "protocol/message_reader.hpp"

namespace culvert::protocol {

std::string sendable(std::string text) {
  const bool well_formed = is_utf8(text);
  const auto is_continuation = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  std::size_t end = std::min(text.size(), text_bytes_max);
  while (well_formed && end < text.size() && is_continuation(text[end])) --end;
  text.resize(end);
  if (!well_formed) std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return text;
}

}  // namespace culvert::protocol
