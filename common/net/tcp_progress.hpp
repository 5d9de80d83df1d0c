// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace culvert {

/// What the kernel knows of one TCP connection's way and of its sending so far (TCP_INFO).
struct TcpProgress {
  std::chrono::microseconds round_trip_min{};  ///< Of the whole connection; the handshake's counts.
  std::chrono::microseconds busy{};            ///< Something was sent and not acknowledged, or waited.
  std::chrono::microseconds held_back{};       ///< Of that: by the receiver's window or our own buffer.
  std::uint64_t retransmitted = 0;             ///< Segments.
};
/// Best effort: where the kernel does not have the algorithm, or we may not choose it, the system's own stays.
void ask_for_congestion_control(int fd, const std::string& name);
/// nullopt where the kernel does not tell.
std::optional<TcpProgress> tcp_progress(int fd);

/// Whether it is congestion that limits a connection's sending: it sends all the time, is held back by nothing else,
/// and loses segments. Where none is lost a second connection would only share what there is.
class CongestionWatch {
 public:
  /// Once a second or so, while the connection is in use. True: so it was for the last `intervals_min` intervals.
  bool is_limiting(const TcpProgress& now, std::chrono::microseconds interval);

  static constexpr int intervals_min = 2;

 private:
  std::optional<TcpProgress> last_;
  int intervals_ = 0;
};

}  // namespace culvert
