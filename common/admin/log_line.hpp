// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/config/settings.hpp"

namespace culvert {

/// One field of a log line: `{"account", name}`. It refers to its strings, so it is valid only during the call that
/// logs.
class LogField {
 public:
  using Value = std::variant<std::string_view, bool, std::int64_t, std::uint64_t, double>;

  template <typename T>
  LogField(std::string_view name, const T& field_value) : key(name), value(to_value(field_value)) {}

  std::string_view key;
  Value value;

 private:
  template <typename T>
  static Value to_value(const T& value) {
    if constexpr (std::same_as<T, bool>) {
      return value;
    } else if constexpr (std::floating_point<T>) {
      return static_cast<double>(value);
    } else if constexpr (std::unsigned_integral<T>) {
      return static_cast<std::uint64_t>(value);
    } else if constexpr (std::signed_integral<T>) {
      return static_cast<std::int64_t>(value);
    } else {
      return std::string_view(value);
    }
  }
};

using LogFields = std::initializer_list<LogField>;

/// Length limit of one field's value, escapes included; the rest is cut off and shown as "...".
inline constexpr std::size_t log_field_bytes_max = 1024;

/// Formats one event as one line, without line feed. Whatever bytes the fields hold, the line is valid UTF-8 without
/// control characters, line separators and bidirectional or invisible formatting: text shows those as \xNN, JSON as
/// \uNNNN, and both show bytes that are not UTF-8 as \xNN (a backslash and three characters). Pure.
std::string format_log_line(LogSettings::Format format, std::chrono::system_clock::time_point time,
                            LogSettings::Level level, std::string_view event, LogFields fields,
                            std::optional<std::uint64_t> suppressed = {});

/// Escapes foreign text for one line on a terminal, like the text format, at most log_field_bytes_max. For `status` and
/// the like.
std::string to_printable(std::string_view bytes);

/// "error", "warn", "info" or "debug".
std::string_view to_string(LogSettings::Level level);
/// The reverse; nothing for any other text.
std::optional<LogSettings::Level> parse_log_level(std::string_view text);

}  // namespace culvert
