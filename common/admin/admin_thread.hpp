// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "common/admin/log.hpp"
#include "common/net/task_group.hpp"

namespace culvert {

/// A thread with a loop of its own, for what must answer while the workers are busy: the metrics page, the admin
/// socket. Owned by the part it serves, as that part's last member: its destructor ends the tasks and waits for them,
/// which takes no longer than one handler. Life: construct, start().
class AdminThread {
 public:
  /// `name` shows in the thread list; at most 15 characters.
  AdminThread(std::string name, Log& log);
  AdminThread(const AdminThread&) = delete;
  AdminThread& operator=(const AdminThread&) = delete;
  ~AdminThread();

  const std::shared_ptr<boost::asio::io_context>& context() const { return context_; }
  /// On this thread only, once it is started.
  TaskGroup& tasks() { return tasks_; }
  /// Spawns `first` and runs the loop until no task is left.
  void start(boost::asio::awaitable<void> first);

 private:
  std::string name_;
  std::shared_ptr<boost::asio::io_context> context_;
  TaskGroup tasks_;
  std::thread thread_;
};

/// A question that may be answered later and on another thread, exactly once or never.
template <typename Answer>
using Question = std::function<void(std::function<void(Answer)> done)>;

/// Asks, and waits on the loop of `context` for at most `limit`; nothing when there was no answer by then. An answer
/// that comes later, even after the loop has ended, is dropped.
template <typename Answer>
boost::asio::awaitable<std::optional<Answer>> ask(std::shared_ptr<boost::asio::io_context> context,
                                                  const Question<Answer>& question,
                                                  std::chrono::steady_clock::duration limit) {
  struct Waiting {
    boost::asio::steady_timer timer;
    std::optional<Answer> answer;
  };
  const auto waiting = std::make_shared<Waiting>(boost::asio::steady_timer(*context, limit), std::nullopt);
  // The answer travels by post, so that only this loop touches `waiting`, and holds the loop but not the coroutine.
  auto done = [context, asked = std::weak_ptr(waiting)](Answer answer) {
    boost::asio::post(*context, [asked, answer = std::move(answer)]() mutable {
      const auto here = asked.lock();
      if (!here) return;
      here->answer = std::move(answer);
      here->timer.cancel();
    });
  };
  question(std::move(done));
  (void)co_await waiting->timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  co_return std::move(waiting->answer);
}

}  // namespace culvert
