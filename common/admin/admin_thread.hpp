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

/// A thread with its own loop, for what must answer while the workers are busy: the metrics page, the admin socket. It
/// is the last member of the part that it serves: its destructor ends the tasks and waits for them, which takes no
/// longer than one handler. Life: construct, start().
class AdminThread {
 public:
  /// `name` shows in the thread list; at most 15 characters.
  AdminThread(std::string name, Log& log);
  AdminThread(const AdminThread&) = delete;
  AdminThread& operator=(const AdminThread&) = delete;
  ~AdminThread();

  const std::shared_ptr<boost::asio::io_context>& context() const { return context_; }
  /// After start() on this thread only.
  TaskGroup& tasks() { return tasks_; }
  /// Spawns `first` and runs the loop until no task is left.
  void start(boost::asio::awaitable<void> first);

 private:
  std::string name_;
  std::shared_ptr<boost::asio::io_context> context_;
  TaskGroup tasks_;
  std::thread thread_;
};

/// A question whose answer may come later and on another thread, once or never.
template <typename Answer>
using Question = std::function<void(std::function<void(Answer)> done)>;

/// Asks, and waits on the loop of `context` for at most `limit`. Returns nothing if there was no answer by then. A
/// later answer, even after the loop has ended, is dropped.
template <typename Answer>
boost::asio::awaitable<std::optional<Answer>> ask(std::shared_ptr<boost::asio::io_context> context,
                                                  const Question<Answer>& question,
                                                  std::chrono::steady_clock::duration limit) {
  struct Waiting {
    boost::asio::steady_timer timer;
    std::optional<Answer> answer;
  };
  const auto waiting = std::make_shared<Waiting>(boost::asio::steady_timer(*context, limit), std::nullopt);
  // The answer is posted, so that only this loop touches `waiting`. It keeps the loop alive, but not the coroutine.
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
