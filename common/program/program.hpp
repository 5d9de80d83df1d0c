// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/admin/log.hpp"
#include "common/base/error.hpp"
#include "common/config/config_source.hpp"
#include "common/ports/inherited_sockets.hpp"
#include "common/program/service.hpp"
#include "common/program/trial.hpp"
#include "common/tunnel/data_planes.hpp"

namespace culvert {

/// What every service works with. run_program() makes these objects; they outlive the service.
struct ProgramContext {
  Log& log;
  DataPlanes& planes;
  InheritedSockets& inherited;
};

/// The differences between the two programs.
struct Program {
  std::string name;                      ///< "culvert-agent"
  std::string description;               ///< One line for --help.
  std::filesystem::path default_config;  ///< "/etc/culvert/agent.toml"
  Trial trial;
  /// Reads the configuration and all files that it names, and checks everything. Blocks.
  std::function<Result<std::unique_ptr<Plan>>(const ConfigSource& source)> load;
  std::function<std::unique_ptr<Service>(const ProgramContext& context, std::unique_ptr<Plan> plan)> make;
  /// A command that only this program has. It needs no running program.
  struct Tool {
    std::string name;
    std::string description;
    /// A name without hyphens is that of an argument.
    std::vector<Trial::Option> options;
    /// Returns the exit status. `config` is the configuration's path, which need not exist.
    std::function<int(const Trial::Values& options, const std::filesystem::path& config)> run;
  };
  std::vector<Tool> tools;
  /// A command of the running program that only this one has: Service::command() gets the rest of the line.
  struct Remote {
    std::string name;
    std::string description;
    std::string usage;  ///< Its forms, a line each.
  };
  std::vector<Remote> remotes;
};

/// Exit status of a program, for its supervisor (docs/operate.md): a restart helps only after `try_again`.
enum class ExitStatus : int {
  stopped = 0,
  usage = 64,          ///< EX_USAGE: wrong arguments.
  defect = 70,         ///< EX_SOFTWARE
  try_again = 75,      ///< EX_TEMPFAIL: a port in use, a socket that cannot be bound: may work later.
  configuration = 78,  ///< EX_CONFIG: an invalid file, a wrong certificate: a person must fix it.
};

/// Both programs' main(): arguments, configuration, logs, signals, reload, metrics, the admin socket, graceful stop.
int run_program(const Program& program, int argc, char** argv);

}  // namespace culvert
