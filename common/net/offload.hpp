// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "common/net/deadline.hpp"

namespace culvert {

/// A thread for work that may block, such as reading a file of a network's file system, so that no event loop waits for
/// it. One piece of work at a time; the destructor waits for the current one. The loops of those who call run() must
/// exist until then.
class Offload {
 public:
  Offload() = default;
  Offload(const Offload&) = delete;
  Offload& operator=(const Offload&) = delete;
  ~Offload() {
    thread_.stop();
    thread_.join();
  }

  /// Runs `work` on the thread. Returns its result, or nothing if there is none until `deadline`; a later one is
  /// dropped. Throws operation_aborted when the coroutine is stopped.
  template <typename T>
  boost::asio::awaitable<std::optional<T>> run(std::function<T()> work, Deadline deadline) {
    namespace asio = boost::asio;
    struct Waiting {
      asio::steady_timer timer;
      std::optional<T> result;
    };
    const auto executor = co_await asio::this_coro::executor;
    const auto waiting = std::make_shared<Waiting>(asio::steady_timer(executor, deadline), std::nullopt);
    asio::post(thread_, [executor, asked = std::weak_ptr(waiting), work = std::move(work)] {
      auto result = std::make_shared<T>(work());
      // Posted, so that only the loop touches `waiting`, and it is not destroyed here.
      asio::post(executor, [asked, result] {
        const auto here = asked.lock();
        if (!here) return;
        here->result.emplace(std::move(*result));
        here->timer.cancel();
      });
    });
    (void)co_await waiting->timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (!waiting->result) co_await throw_if_stopped();
    co_return std::move(waiting->result);
  }

 private:
  boost::asio::thread_pool thread_{1};
};

}  // namespace culvert
