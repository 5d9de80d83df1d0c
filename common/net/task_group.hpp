// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include "common/net/event.hpp"

namespace culvert {

/// Owns the coroutines of one component on one worker: starts, cancels and joins them. The only caller of co_spawn. It
/// should be the last member of a component, so that what its tasks refer to outlives them. Life: spawn() ...,
/// request_stop(), join(). It must be empty when it is destroyed.
class TaskGroup {
 public:
  /// `on_defect` is called for each exception that ended a task without a stop request; it must not throw.
  TaskGroup(boost::asio::any_io_executor executor, std::function<void(std::exception_ptr)> on_defect);
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  using TaskId = std::uint64_t;  ///< Never reused.

  /// Starts `task` soon. The task must take its arguments by value. Do not call it after request_stop().
  TaskId spawn(boost::asio::awaitable<void> task);
  /// Emits `terminal` to one task; does nothing if it has ended. Call it as request_stop(), and not from the task.
  void request_stop(TaskId task);
  /// Emits `terminal` to every task and returns at once. Call it on the worker, inside its loop: in Asio 1.81 a signal
  /// from elsewhere would dangle.
  void request_stop();
  /// Returns when no task is left. It does not stop tasks.
  boost::asio::awaitable<void> join();

  bool is_stopping() const { return stopping_; }
  std::size_t size() const { return tasks_.size(); }

 private:
  struct Task {
    boost::asio::cancellation_signal signal;
    bool is_stopping = false;
  };
  void end(TaskId id, const std::exception_ptr& exception);

  boost::asio::any_io_executor executor_;
  std::function<void(std::exception_ptr)> on_defect_;
  std::map<TaskId, Task> tasks_;
  TaskId last_id_ = 0;
  Event ended_;
  bool stopping_ = false;
};

}  // namespace culvert
