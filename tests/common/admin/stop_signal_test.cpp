// SPDX-License-Identifier: Apache-2.0
#include "common/admin/stop_signal.hpp"

#include <csignal>
#include <memory>
#include <string>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include "common/net/event.hpp"
#include "tests/testing/run.hpp"

namespace culvert {
namespace {

namespace asio = boost::asio;

/// Records the actions.
struct Story {
  explicit Story(asio::io_context& context) : changed(context.get_executor()) {}

  SignalActions actions() {
    return {[this] { add("drain "); }, [this] { add("stop_now "); }, [this] { add("reload "); }};
  }
  void add(const char* what) {
    text += what;
    changed.notify();
  }
  asio::awaitable<void> after(int signal) {
    const std::size_t before = text.size();
    std::raise(signal);
    while (text.size() == before) co_await changed.wait();
  }

  std::string text;
  Event changed;
};

TEST(StopSignal, drains_first_and_stops_at_once_when_asked_again) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Story story(context);
    const StopSignal signals(context.get_executor(), story.actions());
    co_await story.after(SIGTERM);
    EXPECT_EQ(story.text, "drain ");
    co_await story.after(SIGINT);
    co_await story.after(SIGTERM);
    EXPECT_EQ(story.text, "drain stop_now stop_now ");
  });
}

TEST(StopSignal, reloads_any_number_of_times_without_counting_that_as_a_stop) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Story story(context);
    const StopSignal signals(context.get_executor(), story.actions());
    co_await story.after(SIGHUP);
    co_await story.after(SIGHUP);
    co_await story.after(SIGTERM);
    co_await story.after(SIGHUP);
    EXPECT_EQ(story.text, "reload reload drain reload ");
  });
}

TEST(StopSignal, may_be_ended_by_the_action_that_it_calls) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Event ended(context.get_executor());
    std::unique_ptr<StopSignal> signals;
    SignalActions actions;
    actions.drain = [&] {
      signals.reset();
      ended.notify();
    };
    signals = std::make_unique<StopSignal>(context.get_executor(), actions);
    std::raise(SIGTERM);
    while (signals) co_await ended.wait();
  });
}

}  // namespace
}  // namespace culvert
