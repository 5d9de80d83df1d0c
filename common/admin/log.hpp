// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "common/admin/log_line.hpp"
#include "common/config/settings.hpp"

namespace culvert {

/// The program's log: one event, one line, on standard error. `log.info("tunnel.up", {{"account", account}, {"rtt_ms",
/// rtt}})`.
///
/// error: a person must act. warn: degraded, recovers by itself. info: milestones of the process, its tunnels and its
/// configuration. debug: for developers. Traffic is counted, not logged. A field never holds a secret.
///
/// main makes it and passes it to the parts; it outlives them. All functions may be called from any thread and never
/// wait for the reader of the lines: lines go through a queue of `queue_lines_max`, which drops its oldest line when it
/// is full. When the reader is back, a line "log.dropped" reports how many were lost. The destructor writes what is
/// queued, for at most one second.
class Log {
 public:
  using Level = LogSettings::Level;
  static constexpr std::size_t queue_lines_max = 4096;

  /// Writes to `fd`, which the caller owns.
  explicit Log(const LogSettings& settings, int fd = 2);
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log();

  void error(std::string_view event, LogFields fields = {}) { write(Level::error, event, fields); }
  void warn(std::string_view event, LogFields fields = {}) { write(Level::warn, event, fields); }
  void info(std::string_view event, LogFields fields = {}) { write(Level::info, event, fields); }
  void debug(std::string_view event, LogFields fields = {}) { write(Level::debug, event, fields); }

  /// For events that a peer can cause at will: writes one line per second and event name. The next line that is written
  /// ends with suppressed=N. `event` is a constant in our code.
  void limited(Level level, std::string_view event, LogFields fields = {});

  /// True when a line of this level would be written: for callers whose fields are expensive to make.
  bool writes(Level level) const { return level <= level_.load(std::memory_order_relaxed); }
  Level level() const { return level_.load(std::memory_order_relaxed); }

  /// Takes effect with the next line. For the reload and the admin command.
  void set_level(Level level) { level_.store(level, std::memory_order_relaxed); }
  void set_format(LogSettings::Format format);

  /// Lines lost since the start because the reader was too slow.
  std::uint64_t dropped() const;

 private:
  struct Writer;

  void write(Level level, std::string_view event, LogFields fields);

  std::atomic<Level> level_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace culvert
