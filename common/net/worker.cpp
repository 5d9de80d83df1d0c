// SPDX-License-Identifier: Apache-2.0
#include "common/net/worker.hpp"

#include <algorithm>
#include <string>

#include <boost/asio/executor_work_guard.hpp>
#include <pthread.h>

namespace culvert {

namespace {
/// Which worker this thread is. Not thread_.get_id(): start() still writes that while the new thread already runs.
thread_local const Worker* current_worker = nullptr;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
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
  // Whose turn did not end any more: what they stand on is still there now, and gone when this is.
  const auto dead = std::move(graves_);
  graves_.clear();
}

void Worker::at_end_of_turn(TurnEnd& who) {
  end_of_turn_.push_back(&who);
  poller_.request_turn();
}

void Worker::forget(TurnEnd& who) {
  std::ranges::replace(end_of_turn_, &who, nullptr);
  std::ranges::replace(running_, &who, nullptr);
}

void Worker::end_turn() {
  // Who asks for another turn meanwhile gets it after new events were seen.
  running_.swap(end_of_turn_);
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (running_[i] != nullptr) running_[i]->on_turn_end();
  }
  running_.clear();
  const auto dead = std::move(graves_);
  graves_.clear();
}

}  // namespace culvert
