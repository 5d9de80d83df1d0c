// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <sys/epoll.h>

#include "common/net/unique_fd.hpp"

namespace culvert {

/// Somebody whose file descriptor stands in a Poller. The interface of the data path: Tunnel, Relay and Listener.
class Pollable {
 public:
  /// `events` as epoll gives them. Called on the worker. May remove and destroy any Pollable, itself included.
  virtual void on_ready(std::uint32_t events) = 0;

 protected:
  ~Pollable() = default;
};

/// The worker's edge-triggered epoll set for data sockets. Asio watches the set as one descriptor, so an event costs no
/// epoll_ctl and no completion handler of its own (architecture 3). Lives in a Worker; used on its thread only.
class Poller {
 public:
  /// `end_of_turn` runs after each batch of events: the place where tunnels send what the batch made.
  Poller(boost::asio::io_context& context, std::function<void()> end_of_turn);
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  ~Poller();

  /// `fd` must be non-blocking and outlive its stay. `events` gets EPOLLET added unless it has EPOLLEXCLUSIVE
  /// (listeners shared by workers).
  /// False: the kernel's limits do not allow one more.
  [[nodiscard]] bool add(int fd, std::uint32_t events, Pollable& who);
  /// After this `who` gets no event any more, not even one of the batch under way.
  void remove(int fd, Pollable& who);
  /// As remove(), where the only descriptor of the socket is closed right after: the kernel takes it out of the set by
  /// itself, and a system call is saved.
  void forget(Pollable& who);
  /// Starts watching; without it nothing is delivered.
  void start();
  /// Stops watching, so that the io_context can run out of work.
  void stop();
  /// Runs end_of_turn soon, though no event came.
  void request_turn();

 private:
  void arm();
  void turn();
  std::size_t deliver();

  static constexpr std::size_t events_per_turn_max = 256;
  /// How many busy turns follow one another before Asio's timers and posts get theirs.
  static constexpr int turns_together_max = 8;
  boost::asio::io_context& context_;
  std::function<void()> end_of_turn_;
  boost::asio::posix::stream_descriptor epoll_;
  std::array<epoll_event, events_per_turn_max> batch_;
  std::span<epoll_event> undelivered_;
  bool turn_requested_ = false;
  bool in_turn_ = false;  ///< turn() is under way, and sees to what is requested meanwhile.
  bool stopped_ = true;
};

}  // namespace culvert
