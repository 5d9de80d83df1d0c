// SPDX-License-Identifier: Apache-2.0
#include "common/net/task_group.hpp"

#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/system/system_error.hpp>

#include "protocol/check.hpp"

namespace culvert {

namespace asio = boost::asio;

namespace {

bool is_abort(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const boost::system::system_error& error) {
    return error.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

}  // namespace

TaskGroup::TaskGroup(asio::any_io_executor executor, std::function<void(std::exception_ptr)> on_defect)
    : executor_(std::move(executor)), on_defect_(std::move(on_defect)), ended_(executor_) {}

TaskGroup::~TaskGroup() {
  check(tasks_.empty(), "a task group is joined before it is destroyed");
}

TaskGroup::TaskId TaskGroup::spawn(asio::awaitable<void> task) {
  check(!stopping_, "nothing is spawned in a group that is being stopped");
  const TaskId id = ++last_id_;
  auto on_end = [this, id](const std::exception_ptr& exception) { end(id, exception); };
  asio::co_spawn(executor_, std::move(task), asio::bind_cancellation_slot(tasks_[id].signal.slot(), std::move(on_end)));
  return id;
}

void TaskGroup::request_stop(TaskId task) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end() || std::exchange(found->second.is_stopping, true)) return;
  found->second.signal.emit(asio::cancellation_type::terminal);
}

void TaskGroup::request_stop() {
  stopping_ = true;
  for (auto task = tasks_.begin(); task != tasks_.end();) {
    Task& current = task++->second;  // A task may end, and so leave the map, while it gets the signal.
    current.signal.emit(asio::cancellation_type::terminal);
  }
}

asio::awaitable<void> TaskGroup::join() {
  while (!tasks_.empty()) co_await ended_.wait();
}

void TaskGroup::end(TaskId id, const std::exception_ptr& exception) {
  const bool was_stopped = stopping_ || tasks_.at(id).is_stopping;
  tasks_.erase(id);
  // Asio 1.81 may lose or replace the exception of a cancelled coroutine, so the request decides what is a defect.
  if (exception && !(was_stopped && is_abort(exception))) on_defect_(exception);
  ended_.notify();
}

}  // namespace culvert
