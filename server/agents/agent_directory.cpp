// SPDX-License-Identifier: Apache-2.0
#include "server/agents/agent_directory.hpp"

#include <algorithm>
#include <utility>

namespace culvert::server {

AgentDirectory::Joined AgentDirectory::join(const std::string& spiffe_id, const protocol::Hello& hello, TunnelRef ref,
                                            std::size_t tunnels_max, ProvenCertificate certificate) {
  Joined result;
  const Key key{spiffe_id, hello.instance};
  // The first two links of the identity show whether there is another one.
  auto other = links_.lower_bound({spiffe_id, protocol::InstanceId{}});
  if (other != links_.end() && other->first == key) ++other;
  result.second_instance = other != links_.end() && other->first.first == spiffe_id;

  const auto found = links_.try_emplace(key).first;
  Link& link = found->second;
  if (link.number == 0) link.number = ++last_number_;
  if (!link.members.empty() && hello.epoch < link.epoch) {
    result.stale = true;
    return result;
  }
  const bool newer = hello.epoch > link.epoch;
  std::erase_if(link.members, [&](const Member& member) {
    if (!newer && member.slot != hello.slot) return false;
    result.evicted.push_back(member.ref);
    link_of_.erase(member.ref.id);
    return true;
  });
  link.epoch = hello.epoch;
  result.quota = link.quota;
  link.members.push_back({hello.slot, ref, std::move(certificate)});
  link.software = hello.software;
  link_of_.insert_or_assign(ref.id, found);
  take_surplus(spiffe_id, ref, tunnels_max, result.surplus);
  return result;
}

/// Removes the agent's tunnels beyond its limit, those of the oldest link first.
void AgentDirectory::take_surplus(const std::string& spiffe_id, TunnelRef newest, std::size_t tunnels_max,
                                  std::vector<TunnelRef>& surplus) {
  std::size_t tunnels = 0;
  std::map<std::uint64_t, const Link*> oldest_first;
  for (auto each = links_.lower_bound({spiffe_id, protocol::InstanceId{}});
       each != links_.end() && each->first.first == spiffe_id; ++each) {
    tunnels += each->second.members.size();
    oldest_first.emplace(each->second.number, &each->second);
  }
  for (const auto& [number, link] : oldest_first) {
    for (const Member& member : link->members) {
      if (tunnels <= tunnels_max || member.ref == newest) break;
      surplus.push_back(member.ref);
      --tunnels;
    }
  }
  for (const TunnelRef& each : surplus) leave(each.id);
}

bool AgentDirectory::has_valid_certificate(std::uint64_t tunnel, std::chrono::system_clock::time_point now) const {
  const auto found = link_of_.find(tunnel);
  if (found == link_of_.end()) return false;
  return std::ranges::any_of(found->second->second.members,
                             [now](const Member& member) { return member.certificate.not_after > now; });
}

std::vector<AgentDirectory::Connected> AgentDirectory::connected() const {
  std::vector<Connected> all;
  for (const auto& [key, link] : links_) {
    if (link.members.empty()) continue;
    const ProvenCertificate& newest = link.members.back().certificate;
    all.push_back({newest.key, newest.serial, link.software});
  }
  return all;
}

void AgentDirectory::leave(std::uint64_t tunnel) {
  const auto found = link_of_.find(tunnel);
  if (found == link_of_.end()) return;
  const Links::iterator link = found->second;
  link_of_.erase(found);
  std::erase_if(link->second.members, [tunnel](const Member& member) { return member.ref.id == tunnel; });
  if (link->second.members.empty()) links_.erase(link);
}

}  // namespace culvert::server
