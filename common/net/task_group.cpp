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

void TaskGroup::spawn(asio::awaitable<void> task) {
  check(!stopping_, "nothing is spawned in a group that is being stopped");
  const auto place = tasks_.emplace(tasks_.end());
  auto on_end = [this, place](const std::exception_ptr& exception) { end(place, exception); };
  asio::co_spawn(executor_, std::move(task), asio::bind_cancellation_slot(place->slot(), std::move(on_end)));
}

void TaskGroup::request_stop() {
  stopping_ = true;
  for (auto task = tasks_.begin(); task != tasks_.end();) {
    const auto current = task++;  // A task may end, and so leave the list, while it is told.
    current->emit(asio::cancellation_type::terminal);
  }
}

asio::awaitable<void> TaskGroup::join() {
  while (!tasks_.empty()) co_await ended_.wait();
}

void TaskGroup::end(Tasks::iterator task, const std::exception_ptr& exception) {
  tasks_.erase(task);
  // Asio 1.81 may lose or replace the exception of a cancelled coroutine, so our own flag decides what is a defect.
  if (exception && !(stopping_ && is_abort(exception))) on_defect_(exception);
  ended_.notify();
}

}  // namespace culvert
