// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <list>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include "common/net/event.hpp"

namespace culvert {

/// Owns the coroutines of one component on one worker: starts, cancels and joins them. The only place that calls
/// co_spawn. A component's last member, so that what its tasks refer to outlives them. Life: spawn() ...,
/// request_stop(), join(). Destroyed only when empty.
class TaskGroup {
 public:
  /// `on_defect` is told of each exception that ended a task though nobody stopped it; it must not throw.
  TaskGroup(boost::asio::any_io_executor executor, std::function<void(std::exception_ptr)> on_defect);
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  /// Starts `task` soon. Its arguments are its own, by value. Not after request_stop().
  void spawn(boost::asio::awaitable<void> task);
  /// Emits `terminal` to every task and returns at once. On the worker, inside its loop: Asio 1.81 lets a signal from
  /// elsewhere dangle.
  void request_stop();
  /// Returns when no task is left. Does not stop them.
  boost::asio::awaitable<void> join();

  bool is_stopping() const { return stopping_; }
  std::size_t size() const { return tasks_.size(); }

 private:
  using Tasks = std::list<boost::asio::cancellation_signal>;
  void end(Tasks::iterator task, const std::exception_ptr& exception);

  boost::asio::any_io_executor executor_;
  std::function<void(std::exception_ptr)> on_defect_;
  Tasks tasks_;
  Event ended_;
  bool stopping_ = false;
};

}  // namespace culvert
