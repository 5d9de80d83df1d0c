// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace culvert {

/// Decides which of many equal events become a log line: one per second and kind, so that no peer can fill a log. Pure;
/// not thread-safe. Kinds are event names in our code, never a peer's text, so the table stays small.
class LineLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Returns the number of lines of this kind that were suppressed since the last one, or nothing if this one is
  /// suppressed too.
  std::optional<std::uint64_t> admit(std::string_view kind, Time now);

 private:
  struct Kind {
    Time next;
    std::uint64_t suppressed = 0;
  };
  std::map<std::string, Kind, std::less<>> kinds_;
};

}  // namespace culvert
