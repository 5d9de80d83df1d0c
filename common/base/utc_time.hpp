// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace culvert {

/// The wall clock, for certificates and tokens only: it may jump.
inline std::chrono::sys_seconds wall_clock_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

/// RFC 3339, in seconds and UTC: "2026-05-01T12:00:00Z".
std::string utc_text(std::chrono::sys_seconds time);
/// Reads what utc_text() writes, and nothing else.
std::optional<std::chrono::sys_seconds> read_utc(std::string_view text);

}  // namespace culvert
