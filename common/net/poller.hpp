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

/// An object whose file descriptor is in a Poller: Tunnel, Relay, Listener and others on the data path.
class Pollable {
 public:
  /// `events` are epoll's. Called on the worker. It may remove and destroy any Pollable, itself included.
  virtual void on_ready(std::uint32_t events) = 0;

 protected:
  ~Pollable() = default;
};

/// The worker's edge-triggered epoll set for data sockets. Asio watches the set as one descriptor, so an event costs no
/// epoll_ctl and no completion handler of its own. Lives in a Worker; used on its thread only.
class Poller {
 public:
  /// `end_of_turn` runs after each batch of events: tunnels then send the output of the batch.
  Poller(boost::asio::io_context& context, std::function<void()> end_of_turn);
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  ~Poller();

  /// `fd` must be non-blocking and stay open until it is removed. EPOLLET is added to `events` unless it has
  /// EPOLLEXCLUSIVE (listeners shared by workers). Returns false when the kernel's limits allow no further descriptor.
  [[nodiscard]] bool add(int fd, std::uint32_t events, Pollable& pollable);
  /// The socket's events go to `to` from now on, not to `from`, which may be destroyed. Conditions that hold now make
  /// an event. Returns false as add() does.
  [[nodiscard]] bool hand_over(int fd, std::uint32_t events, Pollable& from, Pollable& to);
  /// Afterwards `pollable` gets no event, not even one of the batch under way.
  void remove(int fd, Pollable& pollable);
  /// Like remove(), when the only descriptor of the socket is closed right after: saves a system call, since the kernel
  /// then removes it from the set by itself.
  void forget(Pollable& pollable);
  /// Starts delivering events.
  void start();
  /// Stops watching, so that the io_context can run out of work.
  void stop();
  /// Runs end_of_turn soon, even without an event.
  void request_turn();

 private:
  void arm();
  void turn();
  std::size_t deliver();

  static constexpr std::size_t events_per_turn_max = 256;
  /// Busy turns in a row before Asio's timers and posts run.
  static constexpr int turns_together_max = 8;
  boost::asio::io_context& context_;
  std::function<void()> end_of_turn_;
  boost::asio::posix::stream_descriptor epoll_;
  std::array<epoll_event, events_per_turn_max> batch_;
  std::span<epoll_event> undelivered_;
  bool turn_requested_ = false;
  bool in_turn_ = false;  ///< turn() is under way and will serve requests.
  bool stopped_ = true;
};

}  // namespace culvert
