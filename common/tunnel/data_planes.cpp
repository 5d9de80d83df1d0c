// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/data_planes.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "common/tunnel/tunnel.hpp"

namespace culvert {

namespace {
constexpr std::chrono::milliseconds idle_poll_interval{20};

std::size_t count_or_cores(std::size_t count) {
  return count > 0 ? count : std::max(1U, std::thread::hardware_concurrency());
}
}  // namespace

DataPlanes::DataPlanes(std::size_t count, std::uint64_t memory_budget_bytes)
    : budget_(memory_budget_bytes, count_or_cores(count)) {
  for (std::size_t i = 0; i < count_or_cores(count); ++i) {
    auto worker = std::make_unique<Worker>(i);
    auto plane = std::make_unique<DataPlane>(*worker, budget_);
    cores_.push_back({std::move(worker), std::move(plane)});
  }
}

DataPlanes::~DataPlanes() {
  stop();
}

std::vector<Worker*> DataPlanes::workers() {
  std::vector<Worker*> all;
  all.reserve(cores_.size());
  for (const Core& core : cores_) all.push_back(core.worker.get());
  return all;
}

void DataPlanes::start() {
  for (const Core& core : cores_) core.worker->start();
}

void DataPlanes::stop() {
  for (const Core& core : cores_) core.worker->stop();
  for (const Core& core : cores_) core.worker->join();
}

void DataPlanes::on_each(std::function<void(DataPlane&)> task, std::function<void()> done) {
  struct Shared {
    std::function<void(DataPlane&)> task;
    std::function<void()> done;
    std::atomic<std::size_t> left;
  };
  auto shared = std::make_shared<Shared>(std::move(task), std::move(done), cores_.size());
  for (const Core& core : cores_) {
    core.worker->post([this, shared, plane = core.plane.get()] {
      shared->task(*plane);
      if (--shared->left == 0 && shared->done) home().post([shared] { shared->done(); });
    });
  }
}

void DataPlanes::when_idle(const std::function<bool(DataPlane&)>& busy, std::chrono::steady_clock::time_point deadline,
                           const std::function<void()>& done) {
  auto any = std::make_shared<std::atomic<bool>>(false);
  const auto ask = [any, busy](DataPlane& plane) {
    if (busy(plane)) any->store(true);
  };
  on_each(ask, [this, any, busy, deadline, done] {
    if (!any->load() || std::chrono::steady_clock::now() >= deadline) return done();
    auto timer = std::make_shared<boost::asio::steady_timer>(home().context(), idle_poll_interval);
    timer->async_wait(
        [this, timer, busy, deadline, done](const boost::system::error_code&) { when_idle(busy, deadline, done); });
  });
}

void DataPlanes::collect(MetricsPage& page) const {
  for (const Core& core : cores_) core.plane->counters().collect(page);
}

}  // namespace culvert
