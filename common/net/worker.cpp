// SPDX-License-Identifier: Apache-2.0
#include "common/net/worker.hpp"

#include <algorithm>
#include <string>

#include <boost/asio/executor_work_guard.hpp>
#include <pthread.h>

namespace culvert {

namespace {
/// The worker of this thread. Not thread_.get_id(): start() may still write that while the new thread already runs.
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
  // Objects retired after the last turn: destroys them while what they refer to still exists.
  const auto retired = std::move(retired_);
  retired_.clear();
}

void Worker::at_end_of_turn(TurnEnd& object) {
  end_of_turn_.push_back(&object);
  poller_.request_turn();
}

void Worker::forget(TurnEnd& object) {
  std::ranges::replace(end_of_turn_, &object, nullptr);
  std::ranges::replace(running_, &object, nullptr);
}

void Worker::end_turn() {
  // Objects that ask for another turn meanwhile get it after the next events.
  running_.swap(end_of_turn_);
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (running_[i] != nullptr) running_[i]->on_turn_end();
  }
  running_.clear();
  const auto retired = std::move(retired_);
  retired_.clear();
}

}  // namespace culvert
