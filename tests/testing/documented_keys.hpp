// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::testing {

/// The keys that docs/configure.md has tables for, dotted and sorted. A heading "## `[table]` (server)" opens a table,
/// "(server, agent)" one of both programs; each row begins with "| `key` |".
inline std::vector<std::string> documented_keys(std::string_view program) {
  std::ifstream file(CULVERT_CONFIGURE_DOCUMENT);
  std::set<std::string> keys;
  std::string table;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) {
      const std::size_t begin = line.find_first_not_of("`[", 3);
      const std::size_t end = line.find_first_of("`]", begin);
      const bool is_ours = line.find("`[") != line.npos && line.find(program, line.find('(')) != line.npos;
      table = is_ours ? line.substr(begin, end - begin) : "";
      if (is_ours) keys.insert(table);
    } else if (!table.empty() && line.starts_with("| `")) {
      keys.insert(table + "." + line.substr(3, line.find('`', 3) - 3));
    }
  }
  return {keys.begin(), keys.end()};
}

}  // namespace culvert::testing
