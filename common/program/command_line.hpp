// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "common/config/config_source.hpp"
#include "common/program/program.hpp"

namespace culvert {

/// Result of parsing the arguments.
struct CommandLine {
  ConfigSource source;
  bool check_only = false;
  /// Command for the running program's admin socket, such as "status --json". Empty: run.
  std::string command;
  const Program::Tool* tool = nullptr;  ///< Tool to run instead; owned by the Program.
  Trial::Values tool_options;
  std::optional<int> status;  ///< Set when nothing remains to do (--help, or an error): exit with it.
};

CommandLine read_command_line(const Program& program, int argc, char** argv);

}  // namespace culvert
