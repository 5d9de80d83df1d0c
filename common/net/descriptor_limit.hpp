// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <sys/resource.h>

namespace culvert {

/// How many descriptors this process may have open, as set when this is called.
inline std::uint64_t descriptors_max() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

/// The part of them that peers share (FairQuota), for tunnels and for the targets of their streams. The rest is for
/// clients of our ports, connections without an identity, and ourselves.
inline std::uint64_t descriptors_of_peers() {
  return descriptors_max() / 4 * 3;
}

}  // namespace culvert
