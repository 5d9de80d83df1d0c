// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/http_table.hpp"

#include <fstream>
#include <map>
#include <stdexcept>
#include <string_view>

namespace culvert {

namespace {

using Macros = std::map<std::string, std::string, std::less<>>;

std::string trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return std::string(text);
}

std::string unescaped(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      bytes += text[at];
      continue;
    }
    switch (text.at(++at)) {
      case 'r': bytes += '\r'; break;
      case 'n': bytes += '\n'; break;
      case 't': bytes += '\t'; break;
      case '\\': bytes += '\\'; break;
      case 'x':
        bytes += static_cast<char>(std::stoi(std::string(text.substr(at + 1, 2)), nullptr, 16));
        at += 2;
        break;
      default: throw std::runtime_error("no such escape: " + std::string(text));
    }
  }
  return bytes;
}

/// Braces first, then escapes, so that "\x7b" opens nothing.
std::string expanded(std::string_view text, const Macros& macros) {
  std::string result;
  for (;;) {
    const std::size_t open = text.find('{');
    result += unescaped(text.substr(0, open));
    if (open == text.npos) return result;
    const std::size_t close = text.find('}', open);
    const std::string_view inside = text.substr(open + 1, close - open - 1);
    text.remove_prefix(close + 1);
    const std::size_t star = inside.rfind('*');
    if (star == inside.npos) {
      result += macros.at(std::string(inside));
    } else {
      const std::string repeated = unescaped(inside.substr(0, star));
      for (int n = std::stoi(std::string(inside.substr(star + 1))); n > 0; --n) result += repeated;
    }
  }
}

}  // namespace

std::vector<TableRow> read_http_table(const std::string& name, std::size_t columns) {
  std::ifstream file(std::string(CULVERT_HTTP_TABLES) + "/" + name);
  if (!file) throw std::runtime_error("no table " + name);
  std::vector<TableRow> rows;
  Macros macros;
  std::string section;
  std::string text;
  for (int line = 1; std::getline(file, text); ++line) {
    if (text.empty() || text.starts_with('#')) continue;
    if (text.starts_with("== ")) {
      section = text.substr(3);
      continue;
    }
    if (text.starts_with(":= ")) {
      const std::size_t space = text.find(' ', 3);
      macros[text.substr(3, space - 3)] = expanded(std::string_view(text).substr(space + 1), macros);
      continue;
    }
    TableRow row{line, section, {}};
    std::string_view rest = text;
    for (std::size_t bar = rest.find(" | "); bar != rest.npos && row.cells.size() + 1 < columns;
         bar = rest.find(" | ")) {
      row.cells.push_back(expanded(trimmed(rest.substr(0, bar)), macros));
      rest.remove_prefix(bar + 2);
    }
    if (!row.cells.empty()) rest.remove_prefix(1);
    row.cells.push_back(expanded(rest, macros));
    rows.push_back(row);
  }
  return rows;
}

}  // namespace culvert
