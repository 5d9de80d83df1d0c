// SPDX-License-Identifier: Apache-2.0
#include "common/net/offload.hpp"

#include <future>
#include <string>

#include <gtest/gtest.h>

#include "common/net/task_group.hpp"
#include "tests/testing/run.hpp"

namespace culvert {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;

Deadline within(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

TEST(Offload, lets_the_loop_run_while_the_work_blocks) {
  std::string result;
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    std::promise<void> go_on;
    Offload offload;
    // Only a loop that runs can end the work.
    asio::post(context, [&] { go_on.set_value(); });
    const std::function work = [&] {
      go_on.get_future().wait();
      return std::string("read");
    };
    auto read = co_await offload.run(work, within(4s));
    if (read) result = *read;
  });
  EXPECT_EQ(result, "read");
}

TEST(Offload, gives_nothing_at_the_deadline_and_drops_a_late_result) {
  testing::run([&](asio::io_context&) -> asio::awaitable<void> {
    std::promise<void> go_on;
    Offload offload;
    const std::function late = [&] {
      go_on.get_future().wait();
      return 1;
    };
    const auto nothing = co_await offload.run(late, within(20ms));
    EXPECT_EQ(nothing, std::nullopt);
    go_on.set_value();
    const std::function soon = [] { return 2; };
    const auto second = co_await offload.run(soon, within(4s));
    EXPECT_EQ(second, 2);
  });
}

TEST(Offload, ends_with_its_coroutine) {
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    std::promise<void> go_on;
    Offload offload;
    bool got_through = false;
    TaskGroup tasks(context.get_executor(), [](const std::exception_ptr&) { ADD_FAILURE(); });
    const auto wait = [](Offload& thread, std::promise<void>& until, bool& through) -> asio::awaitable<void> {
      const std::function work = [&until] {
        until.get_future().wait();
        return 1;
      };
      (void)co_await thread.run(work, within(1h));
      through = true;
    };
    tasks.spawn(wait(offload, go_on, got_through));
    co_await testing::turns();
    tasks.request_stop();
    co_await tasks.join();
    EXPECT_FALSE(got_through);
    go_on.set_value();
  });
}

}  // namespace
}  // namespace culvert
