// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace culvert {

/// Wakes coroutines of the same worker. A notify() before wait() has no effect: always wait in a loop that checks the
/// condition.
class Event {
 public:
  explicit Event(const boost::asio::any_io_executor& executor)
      : timer_(executor, boost::asio::steady_timer::time_point::max()) {}

  /// Wakes every coroutine that waits now.
  void notify() { timer_.cancel(); }
  /// Returns after the next notify(). It also returns when the coroutine is being stopped; then the next co_await
  /// throws.
  boost::asio::awaitable<void> wait() {
    (void)co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }

 private:
  boost::asio::steady_timer timer_;
};

}  // namespace culvert
