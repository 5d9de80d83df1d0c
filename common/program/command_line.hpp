// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "common/config/config_source.hpp"
#include "common/program/program.hpp"

namespace culvert {

/// What the arguments ask for.
struct CommandLine {
  ConfigSource source;
  bool check_only = false;
  std::string command;                  ///< For the running program's admin socket: "status --json". Empty: run.
  const Program::Tool* tool = nullptr;  ///< To run instead; the program's.
  std::optional<int> status;            ///< All is said already (--help, or a mistake): end with this.
};

CommandLine read_command_line(const Program& program, int argc, char** argv);

}  // namespace culvert
