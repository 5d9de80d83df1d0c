// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/net/unique_fd.hpp"

namespace culvert {

/// Reports the service's state to systemd, as sd_notify(3) does: one datagram per message. Without systemd every call
/// does nothing. A message that cannot be delivered is dropped. Any thread.
class ServiceNotify {
 public:
  /// `socket_path` is the value of $NOTIFY_SOCKET: a path, or "@name" in the abstract namespace. Empty: no supervisor.
  explicit ServiceNotify(std::string_view socket_path);
  /// Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID.
  static ServiceNotify from_environment();

  void ready() const;
  /// Stopping may take `time_max` from now, whatever the unit's TimeoutStopSec says.
  void stopping(std::chrono::milliseconds time_max) const;
  /// Call before a reload; ready() ends it. Type=notify-reload requires the start time in the message.
  void reloading() const;
  /// One line for `systemctl status`.
  void status(std::string_view text) const;
  /// Keep-alive, due every watchdog_interval().
  void watchdog() const;
  /// Whether a supervisor listens.
  bool has_supervisor() const { return static_cast<bool>(socket_); }
  /// Half of WatchdogSec, as sd_watchdog_enabled(3) recommends; nothing when the unit has no watchdog.
  std::optional<std::chrono::microseconds> watchdog_interval() const { return watchdog_interval_; }

 private:
  void send(std::string_view message) const;

  UniqueFd socket_;
  std::optional<std::chrono::microseconds> watchdog_interval_;
};

}  // namespace culvert
