// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/config_source.hpp"
#include "common/config/toml_table.hpp"

namespace culvert {

/// Reads one TOML file and its drop-ins, `<file>.d/*.toml` in name order: lists of tables there add to the file's,
/// values override them; or the text that stands for a file. Collects every fault; a key that nobody asked for is one.
/// Life: open(), root() and getters, finish(). May block; any one thread.
class TomlReader {
 public:
  /// Codes: "config.unreadable" (a file is missing, not readable or above 1 MiB), "config.syntax". One line per faulty
  /// file.
  static Result<TomlReader> open(const ConfigSource& source);
  /// Reads from nothing, and pretends that each list of tables has one entry: for known_keys().
  static TomlReader describe();

  TomlTable root() { return {*document_, document_->root, ""}; }
  /// After everything was read. Code "config.invalid": all faults in the order of the files, one line each:
  /// "file:line: key: what, and what to do"; of a command line without a line. A line that begins with a space
  /// continues the one before it.
  Result<void> finish();
  /// Each key that was asked for, dotted and sorted: "server.address".
  std::vector<std::string> known_keys() const { return {document_->keys.begin(), document_->keys.end()}; }

 private:
  TomlReader() : document_(std::make_unique<TomlDocument>()) {}
  std::unique_ptr<TomlDocument> document_;  // TomlTables point to it, so it must not move.
};

}  // namespace culvert
