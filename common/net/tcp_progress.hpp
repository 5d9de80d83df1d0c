// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace culvert {

/// The kernel's measurements of one TCP connection (TCP_INFO).
struct TcpProgress {
  std::chrono::microseconds round_trip_min{};  ///< Since the connection began, handshake included.
  std::chrono::microseconds busy{};            ///< Time with data in flight or waiting.
  std::chrono::microseconds held_back{};       ///< Part of `busy`: limited by the receiver's window or our own buffer.
  std::uint64_t retransmitted = 0;             ///< In segments.
};
/// Best effort: if the kernel does not have the algorithm, or we may not choose it, the system's default stays.
void ask_for_congestion_control(int fd, const std::string& name);
/// nullopt if the kernel does not report it.
std::optional<TcpProgress> tcp_progress(int fd);

/// Detects that congestion limits a connection's sending: it sends all the time, nothing else limits it, and it loses
/// segments. Without loss a second connection would only share the same bandwidth.
class CongestionWatch {
 public:
  /// Call it about once a second while the connection is in use. Returns true if congestion was the limit in each of
  /// the last `intervals_min` intervals.
  bool is_limiting(const TcpProgress& now, std::chrono::microseconds interval);

  static constexpr int intervals_min = 2;

 private:
  std::optional<TcpProgress> last_;
  int intervals_ = 0;
};

}  // namespace culvert
