// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/base/error.hpp"

// What was read from TOML files, with the position of each value, and typed getters for it. Independent of the TOML
// library.

namespace culvert {

struct TomlPosition {
  std::size_t file = 0;  ///< Index into TomlDocument::files.
  std::uint32_t line = 1;
};

/// One value of a file. Members that do not belong to `kind` are empty.
struct TomlNode {
  enum class Kind : std::uint8_t { table, array, text, integer, boolean, other };

  Kind kind = Kind::table;
  TomlPosition position;
  /// For tables. A node's address is stable once the document is read.
  std::map<std::string, TomlNode, std::less<>> members;
  std::vector<TomlNode> items;  ///< For arrays.
  std::string text;
  std::int64_t integer = 0;                  ///< Booleans are 0 or 1.
  bool opened = false;                       ///< A reader used it as a table or a list of tables.
  std::set<std::string, std::less<>> asked;  ///< For tables: the keys that a reader knows.
};

/// Everything that is collected while a configuration is read.
struct TomlDocument {
  struct Fault {
    TomlPosition position;
    std::string text;
  };
  struct File {
    std::string label;                ///< Name that faults show.
    std::filesystem::path directory;  ///< Absolute; relative paths in this file start here.
    bool has_lines = true;            ///< False for the text of command-line options, which users do not see.
  };
  /// "file:line".
  std::string place(const TomlPosition& position) const;

  std::vector<File> files;
  TomlNode root;
  std::vector<Fault> faults;
  std::set<std::string> keys;      ///< Every key that a getter asked for, dotted: "server.address".
  std::deque<TomlNode> stand_ins;  ///< Empty tables, used when no file has the table.
  bool describing = false;  ///< Every list of tables acts as if it had one entry, so that `keys` becomes complete.
};

/// One table, read key by key. A view: valid while its TomlReader lives, cheap to copy. A getter makes its key known.
/// It returns nothing when the key is missing or its value is of the wrong kind, and notes a fault in the second case.
class TomlTable {
 public:
  struct NumberRange {
    std::uint64_t min;
    std::uint64_t max;
  };

  TomlTable(TomlDocument& document, TomlNode& node, std::string path)
      : document_(&document), node_(&node), path_(std::move(path)) {}

  bool has(std::string_view key) const;
  /// Notes a fault for each of these keys that is missing.
  void require(std::initializer_list<std::string_view> keys) const;

  std::optional<std::string> text(std::string_view key) const;
  std::optional<std::uint64_t> number(std::string_view key, NumberRange range) const;
  std::optional<bool> boolean(std::string_view key) const;
  /// "250ms", "10s", "5m", "1h", "30d".
  std::optional<std::chrono::milliseconds> duration(std::string_view key, std::chrono::milliseconds min,
                                                    std::chrono::milliseconds max) const;
  /// "512MiB": bytes, with B, KiB, MiB, GiB or TiB.
  std::optional<std::uint64_t> size(std::string_view key, NumberRange range) const;
  /// Absolute; a relative path starts at the directory of the file that contains it.
  std::optional<std::filesystem::path> path(std::string_view key) const;
  template <typename Enum>
  std::optional<Enum> word(std::string_view key, std::initializer_list<std::pair<std::string_view, Enum>> words) const;
  /// A text that `parse` (std::string_view -> Result<T>) understands; the text of its error becomes the fault.
  template <typename Parse>
  auto parsed(std::string_view key, Parse parse) const;
  /// A list of such texts: returns the valid ones and notes a fault for each of the others.
  template <typename Parse>
  auto parsed_list(std::string_view key, Parse parse) const;

  /// Empty when the sub-table is missing.
  TomlTable table(std::string_view key) const;
  std::vector<TomlTable> tables(std::string_view key) const;

  /// Notes what is wrong with `key` ("" = the table itself) and what to do about it: one line, never a secret.
  void fault(std::string_view key, std::string_view text) const;
  /// "file:line" of this key, or of the table when the key is missing.
  std::string where(std::string_view key = {}) const;

 private:
  const TomlNode* find(std::string_view key) const;
  const TomlNode* find(std::string_view key, TomlNode::Kind kind, std::string_view expected) const;
  const std::vector<TomlNode>* find_list(std::string_view key) const;
  std::optional<std::string> text_of(const TomlNode& item, std::string_view key) const;
  void fault_at(const TomlPosition& position, std::string_view key, std::string_view text) const;
  std::string dotted(std::string_view key) const;

  TomlDocument* document_;
  TomlNode* node_;
  std::string path_;
};

template <typename Enum>
std::optional<Enum> TomlTable::word(std::string_view key,
                                    std::initializer_list<std::pair<std::string_view, Enum>> words) const {
  const auto written = text(key);
  if (!written) return std::nullopt;
  std::string allowed;
  for (const auto& [name, value] : words) {
    if (*written == name) return value;
    allowed += (allowed.empty() ? "\"" : ", \"") + std::string(name) + "\"";
  }
  fault(key, "is \"" + *written + "\", must be one of " + allowed);
  return std::nullopt;
}

template <typename Parse>
auto TomlTable::parsed(std::string_view key, Parse parse) const {
  using Value = typename std::invoke_result_t<Parse, std::string_view>::value_type;
  std::optional<Value> answer;
  const auto written = text(key);
  if (!written) return answer;
  auto result = parse(std::string_view(*written));
  if (result) {
    answer = std::move(*result);
  } else {
    fault(key, result.error().text);
  }
  return answer;
}

template <typename Parse>
auto TomlTable::parsed_list(std::string_view key, Parse parse) const {
  using Value = typename std::invoke_result_t<Parse, std::string_view>::value_type;
  std::optional<std::vector<Value>> answer;
  const std::vector<TomlNode>* items = find_list(key);
  if (items == nullptr) return answer;
  answer.emplace();
  for (const TomlNode& item : *items) {
    const auto written = text_of(item, key);
    if (!written) continue;
    auto result = parse(std::string_view(*written));
    if (result) {
      answer->push_back(std::move(*result));
    } else {
      fault_at(item.position, key, result.error().text);
    }
  }
  return answer;
}

}  // namespace culvert
