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

/// All cores of the process: a Worker with its DataPlane each. Made and ended by main. Worker 0 is everybody's home:
/// what belongs to the whole process and changes rarely lives there.
class DataPlanes {
 public:
  /// `count` 0: as many as cores.
  DataPlanes(std::size_t count, std::uint64_t memory_budget_bytes);
  ~DataPlanes();

  std::size_t size() const { return cores_.size(); }
  DataPlane& plane(std::size_t index) { return *cores_[index].plane; }
  Worker& home() { return *cores_.front().worker; }
  std::vector<Worker*> workers();
  MemoryBudget& budget() { return budget_; }

  void start();
  /// Ends the threads. Whoever posts to them has stopped before.
  void stop();

  /// Runs `task` on each worker, soon; `done`, where given, at home after the last. From any thread.
  void on_each(std::function<void(DataPlane&)> task, std::function<void()> done = {});
  /// Asks each worker now and then whether it is `busy`; calls `done` at home when none is, or at `deadline`. Call it
  /// at home.
  void when_idle(const std::function<bool(DataPlane&)>& busy, std::chrono::steady_clock::time_point deadline,
                 const std::function<void()>& done);
  /// The counters of all workers on one page.
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
