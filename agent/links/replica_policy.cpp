// SPDX-License-Identifier: Apache-2.0
#include "agent/links/replica_policy.hpp"

#include <algorithm>
#include <set>

#include "protocol/limits.hpp"

namespace culvert::agent {

namespace {
constexpr std::uint32_t quick_tries_per_replica = 3;  // SPEC 8.5
}  // namespace

ReplicaDecision decide_replicas(std::span<const LinkView> links) {
  ReplicaDecision decision;
  std::set<std::string_view> announced;
  for (const LinkView& link : links) {
    if (link.is_up) announced.insert(link.announced_replicas.begin(), link.announced_replicas.end());
  }
  if (announced.empty()) {
    decision.begin_anew = std::ranges::any_of(links, &LinkView::has_given_up);
    return decision;
  }
  std::set<std::string_view> reached;
  for (std::size_t i = 0; i < links.size(); ++i) {
    if (announced.contains(links[i].replica)) {
      reached.insert(links[i].replica);
    } else {
      decision.retire.push_back(i);
    }
  }
  for (const std::string_view name : announced) {
    if (reached.contains(name) || reached.size() + decision.add.size() >= protocol::replicas_max) continue;
    decision.add.emplace_back(name);
  }
  return decision;
}

std::uint32_t quick_tries_max(std::size_t links) {
  return quick_tries_per_replica * static_cast<std::uint32_t>(links);
}

bool may_be_same_link(std::string_view replica, std::string_view older) {
  return replica.empty() || older.empty() || replica == older;
}

}  // namespace culvert::agent
