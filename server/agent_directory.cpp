// SPDX-License-Identifier: Apache-2.0
#include "server/agent_directory.hpp"

#include <algorithm>

namespace culvert::server {

AgentDirectory::Joined AgentDirectory::join(const std::string& spiffe_id, const protocol::Hello& hello,
                                            TunnelPlace place) {
  Joined result;
  const Key key{spiffe_id, hello.instance};
  const auto first = links_.lower_bound({spiffe_id, protocol::InstanceId{}});
  for (auto it = first; it != links_.end() && it->first.first == spiffe_id; ++it) {
    if (it->first != key) result.second_instance = true;
  }

  Link& link = links_[key];
  if (!link.members.empty() && hello.epoch < link.epoch) {
    result.stale = true;
    return result;
  }
  const bool newer = hello.epoch > link.epoch;
  std::erase_if(link.members, [&](const Member& member) {
    if (!newer && member.slot != hello.slot) return false;
    result.evicted.push_back(member.place);
    return true;
  });
  link.epoch = hello.epoch;
  result.quota = link.quota;
  link.members.push_back({hello.slot, place});
  return result;
}

void AgentDirectory::leave(std::uint64_t tunnel) {
  for (auto it = links_.begin(); it != links_.end(); ++it) {
    auto& members = it->second.members;
    if (std::erase_if(members, [tunnel](const Member& member) { return member.place.id == tunnel; }) == 0) continue;
    if (members.empty()) links_.erase(it);
    return;
  }
}

}  // namespace culvert::server
