// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::agent {

/// What the replica policy must know of one link.
struct LinkView {
  std::string replica;                          ///< Its name; empty where it is unknown or the server has none.
  bool is_up = false;                           ///< At least one tunnel takes new streams.
  bool has_given_up = false;                    ///< Other replicas answered so often that this one may not exist.
  std::vector<std::string> announced_replicas;  ///< All replicas of the server, as this one announced them last.
};

struct ReplicaDecision {
  std::vector<std::size_t> retire;  ///< Links that end, by their index, ascending.
  std::vector<std::string> add;     ///< Replicas that get a link, sorted.
  bool begin_anew = false;          ///< All links end, and one without a name takes their place.
};

/// Which links a server needs (SPEC 8.5): one for each replica that a link which is up announces, and no other; at most
/// protocol::replicas_max. While none is up the links stay as they are, until one of them has given up: then all
/// replicas may have been replaced. Pure.
ReplicaDecision decide_replicas(std::span<const LinkView> links);

/// How many times in a row other replicas may answer a link before it gives up, where a server has `links` of them.
std::uint32_t quick_tries_max(std::size_t links);

/// Whether a server may take the tunnels of a new link to `replica` and of an older one to `older` for one link. A link
/// without a name may reach any replica, and a server that had no name may have one now.
bool may_be_same_link(std::string_view replica, std::string_view older);

}  // namespace culvert::agent
