// SPDX-License-Identifier: Apache-2.0
#include "common/net/poller.hpp"

#include <boost/asio/post.hpp>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

namespace culvert {
namespace {

namespace asio = boost::asio;

/// A descriptor that is ready as soon as it is watched.
class Signal final : public Pollable {
 public:
  explicit Signal(Poller& poller) : fd_(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!poller.add(fd_.get(), EPOLLIN, *this)) throw std::runtime_error("epoll_ctl");
  }
  void on_ready(std::uint32_t) override { ++calls; }
  int calls = 0;

 private:
  UniqueFd fd_;
};

TEST(Poller, a_turn_that_is_asked_for_in_a_turn_follows_without_a_new_event) {
  asio::io_context context(1);
  int turns = 0;
  Poller* self = nullptr;
  Poller poller(context, [&] {
    if (++turns == 1) {
      self->request_turn();
    } else {
      self->stop();
    }
  });
  self = &poller;
  Signal signal(poller);
  poller.start();
  context.run();
  EXPECT_EQ(signal.calls, 1);
  EXPECT_EQ(turns, 2);
}

TEST(Poller, endless_requests_for_turns_do_not_keep_others_from_running) {
  constexpr int endless = 10'000;
  asio::io_context context(1);
  int turns = 0;
  int turns_before_the_other = -1;
  Poller* self = nullptr;
  Poller poller(context, [&] {
    // The handler that the first turn posts stands for a timer's or an acceptor's.
    if (++turns == 1) asio::post(context, [&] { turns_before_the_other = turns; });
    if (turns < endless && turns_before_the_other < 0) {
      self->request_turn();
    } else {
      self->stop();
    }
  });
  self = &poller;
  Signal signal(poller);
  poller.start();
  context.run();
  EXPECT_GE(turns_before_the_other, 1);
  EXPECT_LE(turns_before_the_other, 8);
}

TEST(Poller, runs_a_requested_turn_without_an_event) {
  asio::io_context context(1);
  int turns = 0;
  Poller poller(context, [&] { ++turns; });
  poller.request_turn();
  poller.request_turn();
  context.run();
  EXPECT_EQ(turns, 1);
}

}  // namespace
}  // namespace culvert
