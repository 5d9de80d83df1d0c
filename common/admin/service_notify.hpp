// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/net/unique_fd.hpp"

namespace culvert {

/// Tells systemd how the service is (sd_notify(3), by hand: it is one datagram). Without systemd every call does
/// nothing. A message that cannot be delivered is dropped. From any thread.
class ServiceNotify {
 public:
  /// Where $NOTIFY_SOCKET points: a path, or "@name" in the abstract namespace. Empty: nobody listens.
  explicit ServiceNotify(std::string_view socket_path);
  /// Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID.
  static ServiceNotify from_environment();

  void ready() const;
  /// It may take until `time_max` from now, whatever the unit's TimeoutStopSec says.
  void stopping(std::chrono::milliseconds time_max) const;
  /// Before a reload; ready() ends it. Type=notify-reload wants the time of the start with it.
  void reloading() const;
  /// One line for `systemctl status`.
  void status(std::string_view text) const;
  /// A sign of life. Due every watchdog_interval().
  void watchdog() const;
  /// Whether anybody listens.
  bool has_supervisor() const { return static_cast<bool>(socket_); }
  /// Half of WatchdogSec, as sd_watchdog_enabled(3) advises; none when the unit has no watchdog.
  std::optional<std::chrono::microseconds> watchdog_interval() const { return watchdog_interval_; }

 private:
  void send(std::string_view message) const;

  UniqueFd socket_;
  std::optional<std::chrono::microseconds> watchdog_interval_;
};

}  // namespace culvert
