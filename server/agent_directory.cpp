// SPDX-License-Identifier: Apache-2.0
#include "server/agent_directory.hpp"

#include <algorithm>

namespace culvert::server {

AgentDirectory::Joined AgentDirectory::join(const std::string& spiffe_id, const protocol::Hello& hello,
                                            TunnelPlace place) {
  Joined result;
  const Key key{spiffe_id, hello.instance};
  // Of the identity's links, the first two tell whether there is another one.
  auto other = links_.lower_bound({spiffe_id, protocol::InstanceId{}});
  if (other != links_.end() && other->first == key) ++other;
  result.second_instance = other != links_.end() && other->first.first == spiffe_id;

  const auto found = links_.try_emplace(key).first;
  Link& link = found->second;
  if (!link.members.empty() && hello.epoch < link.epoch) {
    result.stale = true;
    return result;
  }
  const bool newer = hello.epoch > link.epoch;
  std::erase_if(link.members, [&](const Member& member) {
    if (!newer && member.slot != hello.slot) return false;
    result.evicted.push_back(member.place);
    link_of_.erase(member.place.id);
    return true;
  });
  link.epoch = hello.epoch;
  result.quota = link.quota;
  link.members.push_back({hello.slot, place});
  link_of_.insert_or_assign(place.id, found);
  return result;
}

void AgentDirectory::leave(std::uint64_t tunnel) {
  const auto found = link_of_.find(tunnel);
  if (found == link_of_.end()) return;
  const Links::iterator link = found->second;
  link_of_.erase(found);
  std::erase_if(link->second.members, [tunnel](const Member& member) { return member.place.id == tunnel; });
  if (link->second.members.empty()) links_.erase(link);
}

}  // namespace culvert::server
