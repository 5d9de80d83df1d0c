// SPDX-License-Identifier: Apache-2.0
#include "common/admin/stop_signal.hpp"

#include <csignal>
#include <utility>

#include <boost/asio/signal_set.hpp>

namespace culvert {

/// Separate from StopSignal, since a handler that is already queued cannot be cancelled and may run after
/// ~StopSignal().
struct StopSignal::Watch {
  Watch(const boost::asio::any_io_executor& executor, SignalActions with)
      : signals(executor, SIGTERM, SIGINT, SIGHUP), actions(std::move(with)) {}

  static void wait(const std::shared_ptr<Watch>& watch) {
    watch->signals.async_wait([weak = std::weak_ptr(watch)](const boost::system::error_code& error, int signal) {
      const auto alive = weak.lock();
      if (error || !alive) return;
      wait(alive);  // First, since an action may destroy the StopSignal.
      alive->act(signal);
    });
  }

  void act(int signal) {
    if (signal == SIGHUP) {
      actions.reload();
    } else if (!std::exchange(draining, true)) {
      actions.drain();
    } else {
      actions.stop_now();
    }
  }

  boost::asio::signal_set signals;
  SignalActions actions;
  bool draining = false;
};

StopSignal::StopSignal(const boost::asio::any_io_executor& executor, SignalActions actions)
    : watch_(std::make_shared<Watch>(executor, std::move(actions))) {
  Watch::wait(watch_);
}

StopSignal::~StopSignal() = default;

}  // namespace culvert
