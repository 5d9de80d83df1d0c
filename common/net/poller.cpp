// SPDX-License-Identifier: Apache-2.0
#include "common/net/poller.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

#include <boost/asio/post.hpp>

namespace culvert {

namespace asio = boost::asio;

Poller::Poller(asio::io_context& context, std::function<void()> end_of_turn)
    : context_(context), end_of_turn_(std::move(end_of_turn)), epoll_(context), batch_{} {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  epoll_.assign(epoll.release());
}

Poller::~Poller() = default;

bool Poller::add(int fd, std::uint32_t events, Pollable& pollable) {
  epoll_event event{};
  event.events = (events & EPOLLEXCLUSIVE) != 0 ? events : events | EPOLLET;
  event.data.ptr = &pollable;
  return ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, fd, &event) == 0;
}

bool Poller::hand_over(int fd, std::uint32_t events, Pollable& from, Pollable& to) {
  forget(from);
  epoll_event event{};
  event.events = events | EPOLLET;
  event.data.ptr = &to;
  return ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_MOD, fd, &event) == 0;
}

void Poller::remove(int fd, Pollable& pollable) {
  ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_DEL, fd, nullptr);
  forget(pollable);
}

void Poller::forget(Pollable& pollable) {
  for (epoll_event& event : undelivered_) {
    if (event.data.ptr == &pollable) event.data.ptr = nullptr;
  }
}

void Poller::start() {
  stopped_ = false;
  arm();
}

void Poller::stop() {
  stopped_ = true;
  epoll_.cancel();
}

void Poller::arm() {
  epoll_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
    if (error || stopped_) return;
    turn();
    if (!stopped_) arm();
  });
}

/// After a turn with several events, or with work left, another turn follows at once: under load that saves Asio's pass
/// through its own epoll set, three system calls per turn. A turn with one event is typical of an idle worker, and
/// nothing more is ready then.
void Poller::turn() {
  in_turn_ = true;
  bool busy = true;
  for (int turns = 0; busy && turns < turns_together_max && !stopped_; ++turns) {
    const std::size_t events = deliver();
    turn_requested_ = false;  // Serves requests of this turn's events; later requests cause another turn.
    end_of_turn_();
    busy = turn_requested_ || events > 1;
  }
  in_turn_ = false;
  if (std::exchange(turn_requested_, false)) request_turn();
}

std::size_t Poller::deliver() {
  const int count = ::epoll_wait(epoll_.native_handle(), batch_.data(), static_cast<int>(batch_.size()), 0);
  undelivered_ = std::span(batch_).first(count > 0 ? static_cast<std::size_t>(count) : 0);
  while (!undelivered_.empty()) {
    const epoll_event event = undelivered_.front();
    undelivered_ = undelivered_.subspan(1);
    if (event.data.ptr != nullptr) static_cast<Pollable*>(event.data.ptr)->on_ready(event.events);
  }
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}

void Poller::request_turn() {
  if (std::exchange(turn_requested_, true) || in_turn_) return;
  asio::post(context_, [this] {
    turn_requested_ = false;
    end_of_turn_();
  });
}

}  // namespace culvert
