// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "common/admin/metrics.hpp"
#include "common/admin/readiness.hpp"
#include "common/base/error.hpp"
#include "common/config/settings.hpp"

namespace culvert {

class DataPlanes;

/// The settings that run_program() itself applies.
struct ProgramSettings {
  LogSettings log;
  AdminSettings admin;
  MetricsSettings metrics;
  LimitSettings limits;
  /// All files that the configuration names: when one changes, the configuration is loaded again.
  std::vector<std::filesystem::path> files;
};

/// A configuration that was read with all files that it names (certificates too), and checked: ready to run. Each
/// program has its own class.
class Plan {
 public:
  virtual ~Plan() = default;
  virtual const ProgramSettings& settings() const = 0;
};

/// The server or the agent, as run_program() sees it. After start() every call is at home (worker 0).
class Service {
 public:
  virtual ~Service() = default;

  /// Binds the ports and starts, before the workers' threads run. An error ends the program.
  virtual Result<void> start() = 0;
  /// Applies a newer plan of the same program, completely or not at all. Open streams are not affected.
  virtual Result<void> reload(std::unique_ptr<Plan> plan) = 0;
  /// Accepts nothing new, lets open streams end, and calls `done` when none is left or `deadline` has passed.
  virtual void drain(std::chrono::steady_clock::time_point deadline, std::function<void()> done) = 0;
  /// Ends at once what is left, and calls `done` when every task has ended.
  virtual void stop(std::function<void()> done) = 0;

  virtual void status(std::function<void(boost::json::object)> done) = 0;
  /// Dials every target of the configuration; passes one object for each target to `done`.
  virtual void check_targets(std::function<void(boost::json::array)> done) = 0;
  /// One of Program::remotes. `done` gets the text to show, or the error; later, and from any thread.
  virtual void command(const std::string& name, const std::string& arguments,
                       std::function<void(Result<std::string>)> done) = 0;
  virtual Readiness readiness() = 0;
  /// Called on the thread that scrapes.
  virtual void collect(MetricsPage& page) = 0;
};

}  // namespace culvert
