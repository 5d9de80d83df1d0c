// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace culvert {

/// A line of a table of tests/common/http, unescaped; vectors.txt explains the format.
struct TableRow {
  int line = 0;
  std::string section;  ///< The text behind "==".
  std::vector<std::string> cells;
};

/// All rows of tests/common/http/<name>, each of at most `columns` cells; bars in the last cell have no meaning.
std::vector<TableRow> read_http_table(const std::string& name, std::size_t columns);

}  // namespace culvert
