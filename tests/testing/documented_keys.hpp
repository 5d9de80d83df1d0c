// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fstream>
#include <set>
#include <sstream>
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

/// The example of the packages with every example line enabled: a line that begins with "#" and no blank.
inline std::string example_configuration(std::string_view program) {
  std::ifstream file(std::string(CULVERT_EXAMPLES) + "/" + std::string(program) + ".toml");
  std::string text;
  for (std::string line; std::getline(file, line); text += line + "\n") {
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') line.erase(0, 1);
  }
  return text;
}

/// The keys of a text in the form of the examples, in the form of documented_keys(). "# or" marks a key that excludes
/// another one.
inline std::vector<std::string> written_keys(const std::string& toml) {
  std::set<std::string> keys;
  std::string table;
  std::istringstream lines(toml);
  for (std::string line; std::getline(lines, line);) {
    if (constexpr std::string_view instead = "# or "; line.starts_with(instead)) line.erase(0, instead.size());
    if (line.starts_with('[')) {
      const std::size_t begin = line.find_first_not_of('[');
      table = line.substr(begin, line.find(']') - begin);
      keys.insert(table);
    } else if (const std::size_t equals = line.find(" = "); equals != line.npos && !line.starts_with('#')) {
      keys.insert(table + "." + line.substr(0, equals));
    }
  }
  return {keys.begin(), keys.end()};
}

}  // namespace culvert::testing
