// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "common/net/poller.hpp"

namespace culvert {

/// Somebody who acts on what a batch of events made of him, once, when the batch is through: a tunnel that sends.
class TurnEnd {
 public:
  virtual void on_turn_end() = 0;

 protected:
  ~TurnEnd() = default;
};

/// One core's world: a thread with an io_context and a set of data sockets of its own (architecture 3). What is made on
/// a worker lives and dies on it. Other threads only post(). Life: construct, start(), post() ..., stop(), join().
class Worker {
 public:
  explicit Worker(std::size_t index);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  std::size_t index() const { return index_; }
  boost::asio::io_context& context() { return context_; }
  Poller& poller() { return poller_; }
  /// True on this worker's own thread, and anywhere before start().
  bool is_current() const;

  void start();
  /// From any thread. Nothing that is posted after everything ended is run.
  template <typename Task>
  void post(Task&& task) {
    boost::asio::post(context_, std::forward<Task>(task));
  }
  /// From any thread: the loop returns after the handler under way.
  void stop();
  void join();

  /// Calls `who` once at the end of this turn, after all events of the batch; from inside on_turn_end(), in the next
  /// turn. On this worker.
  void at_end_of_turn(TurnEnd& who);
  /// `who` dies: it is not called any more.
  void forget(TurnEnd& who);

  /// Keeps `corpse` alive until the turn ends, for objects that end inside their own callback. On this worker.
  template <typename T>
  void bury(std::unique_ptr<T> corpse) {
    graves_.push_back(std::shared_ptr<void>(std::move(corpse)));
    poller_.request_turn();
  }

 private:
  void end_turn();

  std::size_t index_;
  boost::asio::io_context context_{1};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::vector<TurnEnd*> end_of_turn_;
  std::vector<TurnEnd*> running_;
  std::vector<std::shared_ptr<void>> graves_;
  Poller poller_;
  std::thread thread_;
  bool started_ = false;
};

}  // namespace culvert
