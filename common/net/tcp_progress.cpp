// SPDX-License-Identifier: Apache-2.0
#include "common/net/tcp_progress.hpp"

#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace culvert {

namespace {

/// The kernel's struct tcp_info, as far as we read it. Its header, linux/tcp.h, conflicts with glibc's, whose tcp_info
/// ends with tcpi_total_retrans.
struct KernelTcpInfo {
  ::tcp_info known;
  std::uint64_t rates_and_bytes[4];
  std::uint32_t segments_and_unsent[3];
  std::uint32_t round_trip_min_us;
  std::uint32_t data_segments[2];
  std::uint64_t delivery_rate;
  std::uint64_t busy_us;
  std::uint64_t limited_by_receiver_us;
  std::uint64_t limited_by_buffer_us;
};
static_assert(sizeof(::tcp_info) == 104 && sizeof(KernelTcpInfo) == 192);

}  // namespace

void ask_for_congestion_control(int fd, const std::string& name) {
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), static_cast<socklen_t>(name.size()));
}

std::optional<TcpProgress> tcp_progress(int fd) {
  KernelTcpInfo info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < sizeof info) return std::nullopt;
  using std::chrono::microseconds;
  return TcpProgress{microseconds(info.round_trip_min_us), microseconds(info.busy_us),
                     microseconds(info.limited_by_receiver_us + info.limited_by_buffer_us),
                     info.known.tcpi_total_retrans};
}

bool CongestionWatch::is_limiting(const TcpProgress& now, std::chrono::microseconds interval) {
  const auto before = std::exchange(last_, now);
  const bool limiting = before && now.busy - before->busy >= interval * 8 / 10 &&
                        now.held_back - before->held_back <= interval * 2 / 10 &&
                        now.retransmitted > before->retransmitted;
  intervals_ = limiting ? intervals_ + 1 : 0;
  return intervals_ >= intervals_min;
}

}  // namespace culvert
