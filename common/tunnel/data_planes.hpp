// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "common/admin/metrics.hpp"
#include "common/base/memory_budget.hpp"
#include "common/tunnel/data_plane.hpp"

namespace culvert {

/// All workers of the process, each with its DataPlane. Made and ended by main. Worker 0 is the home: it owns what
/// belongs to the whole process and changes rarely.
class DataPlanes {
 public:
  /// `count` 0: as many workers as the machine has cores.
  DataPlanes(std::size_t count, std::uint64_t memory_budget_bytes);
  ~DataPlanes();

  std::size_t size() const { return cores_.size(); }
  DataPlane& plane(std::size_t index) { return *cores_[index].plane; }
  Worker& home() { return *cores_.front().worker; }
  std::vector<Worker*> workers();
  MemoryBudget& budget() { return budget_; }

  void start();
  /// Ends the threads. Nothing may post to them any more.
  void stop();

  /// Runs `task` on each worker later; then `done`, if given, at home after the last of them. From any thread.
  void on_each(std::function<void(DataPlane&)> task, std::function<void()> done = {});
  /// Calls `busy` on each worker repeatedly; calls `done` at home once all return false, or at `deadline`. Call it at
  /// home.
  void when_idle(const std::function<bool(DataPlane&)>& busy, std::chrono::steady_clock::time_point deadline,
                 const std::function<void()>& done);
  /// Adds the counters of all workers to the page.
  void collect(MetricsPage& page) const;

 private:
  struct Core {
    std::unique_ptr<Worker> worker;
    std::unique_ptr<DataPlane> plane;
  };
  MemoryBudget budget_;
  std::vector<Core> cores_;
};

}  // namespace culvert
