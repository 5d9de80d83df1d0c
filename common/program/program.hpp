// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/config_source.hpp"
#include "common/net/inherited_sockets.hpp"
#include "common/program/service.hpp"
#include "common/program/trial.hpp"
#include "common/tunnel/data_planes.hpp"

namespace culvert {

/// The parts that every service works with. Made by run_program(), outlive the service.
struct Surroundings {
  Log& log;
  DataPlanes& planes;
  InheritedSockets& inherited;
};

/// What tells one program from the other.
struct Program {
  std::string name;                      ///< "culvert-agent"
  std::string description;               ///< One line for --help.
  std::filesystem::path default_config;  ///< "/etc/culvert/agent.toml"
  Trial trial;
  /// Reads the configuration and all that it names, and checks it whole. Blocks.
  std::function<Result<std::unique_ptr<Plan>>(const ConfigSource& source)> load;
  std::function<std::unique_ptr<Service>(const Surroundings& around, std::unique_ptr<Plan> plan)> make;
  /// A command of this program alone, which needs neither a configuration nor a running program.
  struct Tool {
    std::string name;
    std::string description;
    std::function<int()> run;  ///< Its exit status.
  };
  std::vector<Tool> tools;
};

/// How a program ended, for whoever restarts it (docs/operate.md): only `try_again` can be helped by a restart.
enum class ExitStatus : int {
  stopped = 0,
  usage = 64,          ///< EX_USAGE: wrong arguments.
  defect = 70,         ///< EX_SOFTWARE
  try_again = 75,      ///< EX_TEMPFAIL: a port in use, a socket that cannot be bound: something outside may change.
  configuration = 78,  ///< EX_CONFIG: a wrong file, a wrong certificate: a person must act.
};

/// Both programs' main(): arguments, configuration, logs, signals, reload, metrics, the admin socket, graceful stop.
int run_program(const Program& program, int argc, char** argv);

}  // namespace culvert
