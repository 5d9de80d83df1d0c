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
/// error: a person must act. warn: degraded, heals by itself. info: a life's milestones. debug: for us. Traffic is not
/// logged, it is counted; a secret is never a field.
///
/// Made by main and handed to the parts; outlives them. All functions may be called from any thread, and never wait for
/// whoever reads the lines: they pass through a queue of `queue_lines_max`, which loses its oldest line when it is
/// full. Once the reader is back a line "log.dropped" tells how many. The destructor writes what is queued, for at most
/// one second.
class Log {
 public:
  using Level = LogSettings::Level;
  static constexpr std::size_t queue_lines_max = 4096;

  /// Writes to `fd`, which stays the caller's.
  explicit Log(const LogSettings& settings, int fd = 2);
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log();

  void error(std::string_view event, LogFields fields = {}) { write(Level::error, event, fields); }
  void warn(std::string_view event, LogFields fields = {}) { write(Level::warn, event, fields); }
  void info(std::string_view event, LogFields fields = {}) { write(Level::info, event, fields); }
  void debug(std::string_view event, LogFields fields = {}) { write(Level::debug, event, fields); }

  /// For what a peer can cause at will: one line per second and event name. The next line that gets through ends with
  /// suppressed=N. `event` is a constant of our code.
  void limited(Level level, std::string_view event, LogFields fields = {});

  /// True when a line of this level would be written: for callers whose fields cost something to make.
  bool writes(Level level) const { return level <= level_.load(std::memory_order_relaxed); }
  Level level() const { return level_.load(std::memory_order_relaxed); }

  /// From the next line on. For the reload and the admin command.
  void set_level(Level level) { level_.store(level, std::memory_order_relaxed); }
  void set_format(LogSettings::Format format);

  /// Lines that were lost since the start because nobody read.
  std::uint64_t dropped() const;

 private:
  struct Writer;

  void write(Level level, std::string_view event, LogFields fields);

  std::atomic<Level> level_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace culvert
