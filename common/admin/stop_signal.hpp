// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

namespace culvert {

/// Actions of the process on signals, called on the executor's thread.
struct SignalActions {
  std::function<void()> drain;     ///< First SIGTERM or SIGINT: accept nothing new, let open streams end.
  std::function<void()> stop_now;  ///< Every further SIGTERM or SIGINT.
  std::function<void()> reload;    ///< SIGHUP.
};

/// Turns SIGTERM, SIGINT and SIGHUP into calls. One per process, made before any thread starts.
class StopSignal {
 public:
  StopSignal(const boost::asio::any_io_executor& executor, SignalActions actions);
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  /// Afterwards no action is called, and the signals have their default effect again. Call it on the executor's thread,
  /// or after that has ended.
  ~StopSignal();

 private:
  struct Watch;
  std::shared_ptr<Watch> watch_;
};

}  // namespace culvert
