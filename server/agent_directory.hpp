// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/quota.hpp"
#include "protocol/messages.hpp"

namespace culvert::server {

/// Where a tunnel lives.
struct TunnelPlace {
  std::uint64_t id = 0;
  std::size_t plane = 0;
  friend bool operator==(const TunnelPlace&, const TunnelPlace&) = default;
};

/// Which tunnels belong together, and who takes over from whom (SPEC 8.1). Pure; lives at home.
///
/// A link is all tunnels of one agent process. A higher epoch of it evicts its old tunnels at once, the same epoch and
/// slot that one tunnel, another slot joins, and a lower epoch is refused: a frozen agent that thaws must not push out
/// its own successor.
class AgentDirectory {
 public:
  struct Joined {
    bool stale = false;                ///< Refused: an older epoch.
    std::vector<TunnelPlace> evicted;  ///< To be closed as replaced.
    LinkQuota quota;                   ///< Of the link.
    bool second_instance = false;      ///< Another process with the same identity is here: a pair of hands, or a theft.
  };
  Joined join(const std::string& spiffe_id, const protocol::Hello& hello, TunnelPlace place);
  void leave(std::uint64_t tunnel);

  std::size_t links() const { return links_.size(); }

 private:
  using Key = std::pair<std::string, protocol::InstanceId>;
  struct Member {
    std::uint32_t slot = 0;
    TunnelPlace place;
  };
  struct Link {
    std::uint64_t epoch = 0;
    std::vector<Member> members;
    LinkQuota quota;
  };
  using Links = std::map<Key, Link>;
  Links links_;
  std::unordered_map<std::uint64_t, Links::iterator> link_of_;  ///< By tunnel: a thousand of them may leave at once.
};

}  // namespace culvert::server
