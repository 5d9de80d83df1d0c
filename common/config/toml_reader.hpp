// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/config_source.hpp"
#include "common/config/toml_table.hpp"

namespace culvert {

/// Reads one TOML file and its drop-ins, `<file>.d/*.toml` in name order (their lists of tables add to the file's,
/// their values override its values), or a text instead of a file. Collects every fault; a key that no getter asked for
/// is one. Life: open(), root() and getters, finish(). May block; any one thread.
class TomlReader {
 public:
  /// Codes: "config.unreadable" (a file is missing, not readable or larger than 1 MiB), "config.syntax". One line per
  /// faulty file.
  static Result<TomlReader> open(const ConfigSource& source);
  /// Reads nothing, and acts as if each list of tables had one entry: for known_keys().
  static TomlReader describe();

  TomlTable root() { return {*document_, document_->root, ""}; }
  /// Call it when everything has been read. Code "config.invalid": all faults in the order of the files, one line each:
  /// "file:line: key: what, and what to do"; for a command line without the line number. A line that begins with a
  /// space continues the one before it.
  Result<void> finish();
  /// Every key that a getter asked for, dotted and sorted: "server.address".
  std::vector<std::string> known_keys() const { return {document_->keys.begin(), document_->keys.end()}; }

 private:
  TomlReader() : document_(std::make_unique<TomlDocument>()) {}
  std::unique_ptr<TomlDocument> document_;  // TomlTables point to it, so it must not move.
};

/// What `read(root)` makes of the whole of `source`; the errors are those of open() and finish(). May block.
template <typename Read>
auto load_toml(const ConfigSource& source, Read read) -> Result<decltype(read(std::declval<const TomlTable&>()))> {
  auto reader = TomlReader::open(source);
  if (!reader) return std::unexpected(std::move(reader.error()));
  auto content = read(reader->root());
  auto checked = reader->finish();
  if (!checked) return std::unexpected(std::move(checked.error()));
  return content;
}

}  // namespace culvert
