// SPDX-License-Identifier: Apache-2.0
#include "common/program/status_text.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/core.h>

#include "common/admin/log_line.hpp"

namespace culvert {
namespace {

std::string plain(const boost::json::value& value) {
  if (const auto* text = value.if_string()) return to_printable(std::string_view(*text));
  return boost::json::serialize(value);
}

void write(std::string& out, const boost::json::object& object, std::size_t indent) {
  const std::string margin(indent, ' ');
  // Plain values come first, on one line below the top level; then objects and lists.
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

std::vector<boost::json::object> parts(const boost::json::object& status, std::string_view key) {
  std::vector<boost::json::object> all;
  const auto* list = status.if_contains(key);
  if (list == nullptr || !list->is_array()) return all;
  for (const auto& entry : list->get_array()) {
    if (const auto* part = entry.if_object()) all.push_back(*part);
  }
  return all;
}

std::string text_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value == nullptr ? "" : plain(*value);
}

}  // namespace

std::string status_line(const boost::json::object& status) {
  std::uint64_t tunnels = 0;
  std::uint64_t streams = 0;
  for (const boost::json::object& tunnel : parts(status, "tunnels")) {
    if (text_of(tunnel, "state") == "up") ++tunnels;
    if (const auto* count = tunnel.if_contains("streams")) streams += count->to_number<std::uint64_t>();
  }
  std::string line = fmt::format("{} {} up, {} {}", tunnels, tunnels == 1 ? "tunnel" : "tunnels", streams,
                                 streams == 1 ? "stream" : "streams");
  for (const boost::json::object& server : parts(status, "servers")) {
    if (const std::string error = text_of(server, "last_error"); !error.empty())
      line += fmt::format("; server {}: {}", text_of(server, "name"), error);
  }
  return line;
}

std::string status_text(const boost::json::object& status) {
  std::string out;
  write(out, status, 0);
  return out;
}

}  // namespace culvert
