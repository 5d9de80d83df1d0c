// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

namespace culvert {

/// A point on the steady clock at which waiting stops. Passed down, so that several steps share one bound.
using Deadline = boost::asio::steady_timer::time_point;

/// Result of a read or a write.
struct IoResult {
  boost::system::error_code error;
  std::size_t size = 0;
};

/// Runs `op` (started with asio::deferred, completing with error and size) until `deadline` at the latest. `timer` is
/// the caller's, one per direction. The result is never lost: bytes that arrive together with the timeout are returned.
/// The error of a timeout is asio::error::timed_out; operation_aborted means that the coroutine is being stopped.
template <typename DeferredOp>
boost::asio::awaitable<IoResult> with_deadline(DeferredOp op, boost::asio::steady_timer& timer, Deadline deadline) {
  namespace asio = boost::asio;
  timer.expires_at(deadline);
  auto race = asio::experimental::make_parallel_group(std::move(op), timer.async_wait(asio::deferred));
  auto [order, error, size, timer_error] =
      co_await race.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  // If the timer was aborted too, the coroutine is being stopped.
  if (error == asio::error::operation_aborted && !timer_error) error = asio::error::timed_out;
  co_return IoResult{error, size};
}

/// The same, for at most `limit` from now.
template <typename DeferredOp>
boost::asio::awaitable<IoResult> with_deadline(DeferredOp op, boost::asio::steady_timer& timer,
                                               boost::asio::steady_timer::duration limit) {
  return with_deadline(std::move(op), timer, boost::asio::steady_timer::clock_type::now() + limit);
}

/// Returns after this time; throws operation_aborted when the coroutine is being stopped.
inline boost::asio::awaitable<void> wait_for(boost::asio::steady_timer::duration time) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, time);
  co_await timer.async_wait(boost::asio::use_awaitable);
}

/// Throws operation_aborted if the coroutine is being stopped: for a `co_await` that does not throw by itself. Never
/// suspends.
inline boost::asio::awaitable<void> throw_if_stopped() {
  auto state = co_await boost::asio::this_coro::cancellation_state;
  if (state.cancelled() != boost::asio::cancellation_type::none) {
    throw boost::system::system_error(boost::asio::error::operation_aborted);
  }
}

}  // namespace culvert
