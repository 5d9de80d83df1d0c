// SPDX-License-Identifier: Apache-2.0
#include "common/net/worker.hpp"

#include <string>

#include <boost/asio/executor_work_guard.hpp>
#include <pthread.h>

namespace culvert {

namespace {
/// Which worker this thread is. Not thread_.get_id(): start() still writes that while the new thread already runs.
thread_local const Worker* current_worker = nullptr;
}  // namespace

Worker::Worker(std::size_t index)
    : index_(index), work_(boost::asio::make_work_guard(context_)), poller_(context_, [this] { end_turn(); }) {}

Worker::~Worker() {
  stop();
  join();
}

bool Worker::is_current() const {
  return !started_ || current_worker == this;
}

void Worker::start() {
  poller_.start();
  started_ = true;
  thread_ = std::thread([this] {
    current_worker = this;
    context_.run();
  });
  pthread_setname_np(thread_.native_handle(), ("worker-" + std::to_string(index_)).c_str());
}

void Worker::stop() {
  context_.stop();
}

void Worker::join() {
  if (!thread_.joinable()) return;
  thread_.join();
  started_ = false;
}

void Worker::at_end_of_turn(std::function<void()> task) {
  end_of_turn_.push_back(std::move(task));
  poller_.request_turn();
}

void Worker::end_turn() {
  // A task may ask for another one (a tunnel that has more to send): that runs in the next turn, after new events were
  // seen.
  running_.swap(end_of_turn_);
  for (auto& task : running_) task();
  running_.clear();
  auto dead = std::move(graves_);
  graves_.clear();
}

}  // namespace culvert
