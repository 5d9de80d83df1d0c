// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

// Reads the tables and the fenced blocks of protocol/SPEC.md.

namespace culvert::protocol {

using Fields = std::map<std::string, std::string>;
using Row = std::vector<std::string>;

/// The contents of a file of the source tree.
inline std::string text_of(const std::string& path) {
  std::ifstream file(std::string(CULVERT_SOURCE_ROOT) + "/" + path);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::vector<std::string> spec_lines() {
  std::vector<std::string> lines;
  std::istringstream text(text_of("protocol/SPEC.md"));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

inline std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" `");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" `") - first + 1);
}

/// The rows of the first table below `heading`, with its header row, without the ruler.
inline std::vector<Row> table_below(const std::string& heading) {
  std::vector<Row> rows;
  bool inside = false;
  for (const auto& line : spec_lines()) {
    if (line.starts_with(heading)) inside = true;
    if (!inside || !line.starts_with("|")) {
      if (!rows.empty()) break;
      continue;
    }
    if (line.starts_with("|--")) continue;
    Row row;
    std::istringstream cells(line.substr(1));
    for (std::string cell; std::getline(cells, cell, '|');) row.push_back(trimmed(cell));
    rows.push_back(row);
  }
  return rows;
}

/// The fenced blocks of one kind: pairs "key: value", several in a line, separated by "; ". A line that begins with a
/// space continues the value before it.
inline std::vector<Fields> blocks(const std::string& kind) {
  std::vector<Fields> found;
  bool inside = false;
  std::string key;
  for (std::string line : spec_lines()) {
    if (line.starts_with("```")) {
      inside = line == "```" + kind;
      if (inside) found.emplace_back();
      continue;
    }
    if (inside && line.starts_with(" ")) {
      found.back()[key] += line;
      continue;
    }
    while (inside && !line.empty()) {
      const auto end = std::min(line.find("; "), line.size());
      const auto colon = line.find(':');
      key = line.substr(0, colon);
      EXPECT_TRUE(found.back().emplace(key, trimmed(line.substr(colon + 1, end - colon - 1))).second) << line;
      line.erase(0, end + 2);
    }
  }
  return found;
}

inline std::uint64_t number(std::string text) {
  std::erase(text, ',');
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  EXPECT_TRUE(error == std::errc() && end == text.data() + text.size()) << '"' << text << "\" is not a number";
  return value;
}

}  // namespace culvert::protocol
