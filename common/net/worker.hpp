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

/// Called once after each batch of events, e.g. by a tunnel that has output to send.
class TurnEnd {
 public:
  virtual void on_turn_end() = 0;

 protected:
  ~TurnEnd() = default;
};

/// The thread of one core, with an io_context and a set of data sockets of its own. Objects that are made on a worker
/// are used and destroyed on it. Other threads only post(). Life: construct, start(), post() ..., stop(), join().
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
  /// From any thread. A task that is posted after the loop has ended is not run.
  template <typename Task>
  void post(Task&& task) {
    boost::asio::post(context_, std::forward<Task>(task));
  }
  /// From any thread. The loop returns after the current handler.
  void stop();
  void join();

  /// Calls `object` once at the end of this turn, after all events of the batch. From inside on_turn_end() it means the
  /// next turn. On this worker.
  void at_end_of_turn(TurnEnd& object);
  /// `object` is being destroyed and must not be called any more.
  void forget(TurnEnd& object);

  /// Keeps `object` alive until the turn ends, for objects that end inside their own callback. On this worker.
  template <typename T>
  void retire(std::unique_ptr<T> object) {
    retired_.push_back(std::shared_ptr<void>(std::move(object)));
    poller_.request_turn();
  }

 private:
  void end_turn();

  std::size_t index_;
  boost::asio::io_context context_{1};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::vector<TurnEnd*> end_of_turn_;
  std::vector<TurnEnd*> running_;
  std::vector<std::shared_ptr<void>> retired_;
  Poller poller_;
  std::thread thread_;
  bool started_ = false;
};

}  // namespace culvert
