// SPDX-License-Identifier: Apache-2.0
#include "common/program/status_text.hpp"

#include <string_view>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "common/admin/log_line.hpp"

namespace culvert {
namespace {

std::string plain(const boost::json::value& value) {
  if (const auto* text = value.if_string()) return to_printable(std::string_view(*text));
  return boost::json::serialize(value);
}

void write(std::string& out, const boost::json::object& object, std::size_t indent) {
  const std::string margin(indent, ' ');
  // Plain values first, side by side below the top; then what has parts.
  bool started = false;
  for (const auto& [key, value] : object) {
    if (value.is_array()) continue;
    if (indent == 0) {
      out.append(key).append(": ").append(plain(value)).append("\n");
    } else {
      out.append(started ? "  " : margin + "- ").append(key).append("=").append(plain(value));
      started = true;
    }
  }
  if (started) out.append("\n");
  for (const auto& [key, value] : object) {
    const auto* list = value.if_array();
    if (list == nullptr) continue;
    out.append(indent == 0 ? "" : margin + "  ").append(key).append(list->empty() ? ": none\n" : ":\n");
    for (const auto& entry : *list) {
      if (const auto* part = entry.if_object()) {
        write(out, *part, indent + 2);
      } else {
        out.append(margin + "  - ").append(plain(entry)).append("\n");
      }
    }
  }
}

}  // namespace

std::string status_text(const boost::json::object& status) {
  std::string out;
  write(out, status, 0);
  return out;
}

}  // namespace culvert
