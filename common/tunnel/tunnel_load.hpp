// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace culvert {

/// The load of a tunnel, which TunnelDirectory::pick() reads on any worker. The tunnel's worker writes it, relaxed.
struct TunnelLoad {
  std::atomic<std::uint32_t> streams{0};       ///< pick() adds the new stream, until the tunnel counts it.
  std::atomic<std::uint64_t> queued_bytes{0};  ///< Sealed bytes that the kernel has not accepted yet.
  /// Round trip of the last PING, which waits behind bulk like a small answer.
  std::atomic<std::int64_t> round_trip_us{0};
  /// Bytes carried, both ways, in the last one or two seconds, by streams that are open now.
  std::atomic<std::uint64_t> recent_bytes{0};
  std::atomic<std::uint32_t> busy_streams{0};     ///< Open streams that carry bulk.
  std::atomic<std::int64_t> last_received_us{0};  ///< Time of the last byte: a silent tunnel may be dead already.
};

}  // namespace culvert
