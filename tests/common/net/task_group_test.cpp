// SPDX-License-Identifier: Apache-2.0
#include "common/net/task_group.hpp"

#include <stdexcept>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include "common/net/deadline.hpp"
#include "tests/testing/run.hpp"

namespace culvert {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct Defects {
  int count = 0;
  auto counter() {
    return [this](const std::exception_ptr&) { ++count; };
  }
};

/// Records its destruction, however it ends.
struct Mark {
  bool& ended;
  ~Mark() { ended = true; }
};

asio::awaitable<void> hang(bool& ended) {
  const Mark mark{ended};
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> fail_with_an_exception() {
  co_await testing::turns();
  throw std::runtime_error("a defect");
}

TEST(TaskGroup, joins_tasks_that_end_by_themselves) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Defects defects;
    TaskGroup tasks(context.get_executor(), defects.counter());
    for (int i = 0; i < 3; ++i) tasks.spawn(testing::turns());
    co_await tasks.join();
    EXPECT_EQ(tasks.size(), 0u);
    EXPECT_EQ(defects.count, 0);
  });
}

TEST(TaskGroup, stops_one_task_and_no_other) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Defects defects;
    TaskGroup tasks(context.get_executor(), defects.counter());
    bool one_ended = false;
    bool other_ended = false;
    const auto one = tasks.spawn(hang(one_ended));
    tasks.spawn(hang(other_ended));
    co_await testing::turns();
    tasks.request_stop(one);
    tasks.request_stop(one);
    co_await testing::turns();
    EXPECT_TRUE(one_ended);
    EXPECT_FALSE(other_ended);
    tasks.request_stop(one);
    tasks.spawn(fail_with_an_exception());
    co_await testing::turns(100);
    EXPECT_EQ(defects.count, 1) << "of the last task; the group is not being stopped";
    tasks.request_stop();
    co_await tasks.join();
    EXPECT_TRUE(other_ended);
    EXPECT_EQ(defects.count, 1);
  });
}

TEST(TaskGroup, stops_tasks_that_hang_and_calls_that_no_defect) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Defects defects;
    TaskGroup tasks(context.get_executor(), defects.counter());
    bool started_ended = false;
    bool fresh_ended = false;
    tasks.spawn(hang(started_ended));
    co_await testing::turns();
    tasks.spawn(hang(fresh_ended));
    tasks.request_stop();
    co_await tasks.join();
    EXPECT_TRUE(started_ended);
    EXPECT_TRUE(fresh_ended);
    EXPECT_EQ(defects.count, 0);
  });
}

TEST(TaskGroup, reports_an_exception_of_a_task_as_a_defect) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Defects defects;
    TaskGroup tasks(context.get_executor(), defects.counter());
    tasks.spawn(fail_with_an_exception());
    co_await tasks.join();
    EXPECT_EQ(defects.count, 1);
  });
}

TEST(TaskGroup, reports_a_defect_of_a_task_that_is_being_stopped) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Defects defects;
    TaskGroup tasks(context.get_executor(), defects.counter());
    tasks.spawn([]() -> asio::awaitable<void> {
      try {
        bool ended = false;
        co_await hang(ended);
      } catch (const boost::system::system_error&) {
        throw std::runtime_error("a defect in unwinding");
      }
    }());
    co_await testing::turns();
    tasks.request_stop();
    co_await tasks.join();
    EXPECT_EQ(defects.count, 1);
  });
}

TEST(TaskGroup, is_not_destroyed_with_a_task_in_it) {
  EXPECT_DEATH(
      {
        asio::io_context context;
        bool ended = false;
        TaskGroup tasks(context.get_executor(), [](const std::exception_ptr&) {});
        tasks.spawn(hang(ended));
      },
      "joined before");
}

TEST(Event, wakes_all_who_wait) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    Defects defects;
    TaskGroup tasks(context.get_executor(), defects.counter());
    Event event(context.get_executor());
    int woken = 0;
    const auto waiter = [](Event& on, int& count) -> asio::awaitable<void> {
      co_await on.wait();
      ++count;
    };
    tasks.spawn(waiter(event, woken));
    tasks.spawn(waiter(event, woken));
    co_await testing::turns();
    EXPECT_EQ(woken, 0);
    event.notify();
    co_await tasks.join();
    EXPECT_EQ(woken, 2);
  });
}

}  // namespace
}  // namespace culvert
