// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <exception>
#include <stdexcept>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace culvert::testing {

/// Runs the coroutine `body(context)` on a fresh io_context until it ends, for 5 s at most, and rethrows what it
/// throws. Coroutines that are left over are destroyed while suspended, as at the end of a process.
template <typename Body>
void run(Body body, std::chrono::seconds limit = std::chrono::seconds(5)) {
  boost::asio::io_context context(1);
  std::exception_ptr thrown;
  bool ended = false;
  boost::asio::co_spawn(context, body(context), [&](const std::exception_ptr& exception) {
    thrown = exception;
    ended = true;
    context.stop();
  });
  context.run_for(limit);
  if (thrown) std::rethrow_exception(thrown);
  if (!ended) throw std::runtime_error("the coroutine did not end within its bound");
}

/// Runs everything that is ready on the caller's io_context: `count` passes of its loop, without waiting.
inline boost::asio::awaitable<void> turns(int count = 50) {
  for (int turn = 0; turn < count; ++turn) co_await boost::asio::post(boost::asio::use_awaitable);
}

}  // namespace culvert::testing
