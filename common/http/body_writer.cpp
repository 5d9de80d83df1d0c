// SPDX-License-Identifier: Apache-2.0
#include "common/http/body_writer.hpp"

#include <charconv>

namespace culvert::http {

bool BodyWriter::wrap(std::size_t size, Wrapping& wrapping) {
  wrapping = {};
  if (size == 0) return true;
  switch (transfer_) {
    case Transfer::none: return false;
    case Transfer::until_close: return true;
    case Transfer::length:
      if (size > remaining_) return false;
      remaining_ -= size;
      return true;
    case Transfer::chunked: break;
  }
  char* end = std::to_chars(chunk_head_.begin(), chunk_head_.end() - 2, size, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  wrapping = {{chunk_head_.begin(), end}, "\r\n"};
  return true;
}

bool BodyWriter::finish(std::string& out, const Fields& trailers) {
  switch (transfer_) {
    case Transfer::none:
    case Transfer::until_close: return true;
    case Transfer::length: return remaining_ == 0;
    case Transfer::chunked: break;
  }
  out += "0\r\n";
  for (const auto& [name, value] : trailers) out.append(name).append(": ").append(value).append("\r\n");
  out += "\r\n";
  return true;
}

}  // namespace culvert::http
