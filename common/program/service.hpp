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

#include "common/admin/admin_http.hpp"
#include "common/admin/log.hpp"
#include "common/admin/metrics.hpp"
#include "common/base/error.hpp"
#include "common/config/settings.hpp"

namespace culvert {

class DataPlanes;

/// The settings that run_program() itself obeys.
struct ProgramSettings {
  LogSettings log;
  AdminSettings admin;
  MetricsSettings metrics;
  LimitSettings limits;
  std::vector<std::filesystem::path> files;  ///< All that the configuration names: a change of one is a reload.
};

/// A configuration that was read, with all that it names (certificates too), and checked whole: ready to be run. A
/// value; each program has its own.
class Plan {
 public:
  virtual ~Plan() = default;
  virtual const ProgramSettings& settings() const = 0;
};

/// What run_program() runs: the server or the agent. After start() every call is at home (worker 0).
class Service {
 public:
  virtual ~Service() = default;

  /// Binds its ports and begins, before the workers' threads run. An error ends the program.
  virtual Result<void> start() = 0;
  /// Takes over a newer plan of the same program, whole or not at all. Open streams are untouched.
  virtual Result<void> reload(std::unique_ptr<Plan> plan) = 0;
  /// Takes nothing new, lets what runs end, calls `done` when nothing is left or `deadline` has come.
  virtual void drain(std::chrono::steady_clock::time_point deadline, std::function<void()> done) = 0;
  /// Ends what is left at once, calls `done` when every task has ended.
  virtual void stop(std::function<void()> done) = 0;

  virtual void status(std::function<void(boost::json::object)> done) = 0;
  /// Dials what the configuration leads to; gives an object for each target.
  virtual void check_targets(std::function<void(boost::json::array)> done) = 0;
  virtual Readiness readiness() = 0;
  /// On the thread that scrapes.
  virtual void collect(MetricsPage& page) = 0;
};

}  // namespace culvert
