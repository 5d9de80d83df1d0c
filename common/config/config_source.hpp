// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <utility>

namespace culvert {

/// Where a configuration comes from: a file with its drop-ins, or TOML made from command-line options, whose relative
/// paths start at the working directory.
struct ConfigSource {
  // NOLINTNEXTLINE(google-explicit-constructor): a file is a source.
  ConfigSource(std::filesystem::path its_file) : file(std::move(its_file)) {}
  static ConfigSource of_command_line(std::string toml) {
    ConfigSource source{std::filesystem::path()};
    source.text = std::move(toml);
    return source;
  }

  /// For people.
  std::string name() const { return file.empty() ? "command line" : file.string(); }

  std::filesystem::path file;  ///< Empty: the configuration is `text`.
  std::string text;
};

}  // namespace culvert
