// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace culvert::protocol {

/// For metrics. Plain numbers of one tunnel.
struct SessionCounters {
  std::uint64_t streams_opened = 0;    ///< By us.
  std::uint64_t streams_accepted = 0;  ///< Opened by the peer.
  std::uint64_t late_frames = 0;       ///< For streams that are gone; discarded.
  std::uint64_t stale_credits = 0;
  std::uint64_t overloaded = 0;  ///< OPENs refused at streams_max.
};

}  // namespace culvert::protocol
