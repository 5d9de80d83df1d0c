// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

namespace culvert {

/// What the process does on signals. Called on the executor's thread.
struct SignalActions {
  std::function<void()> drain;     ///< First SIGTERM or SIGINT: take nothing new, let what runs end.
  std::function<void()> stop_now;  ///< Every further one: somebody is in a hurry.
  std::function<void()> reload;    ///< SIGHUP.
};

/// Turns SIGTERM, SIGINT and SIGHUP into calls. One per process, from start to destruction; made before threads are
/// started.
class StopSignal {
 public:
  StopSignal(const boost::asio::any_io_executor& executor, SignalActions actions);
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  /// Afterwards no action is called, and the signals have their default effect again. On the executor's thread, or when
  /// it runs no more.
  ~StopSignal();

 private:
  struct Watch;
  std::shared_ptr<Watch> watch_;
};

}  // namespace culvert
