// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/permit.hpp"
#include "protocol/messages.hpp"

namespace culvert::server {

/// A tunnel and the index of its worker.
struct TunnelRef {
  std::uint64_t id = 0;
  std::size_t plane = 0;
  friend bool operator==(const TunnelRef&, const TunnelRef&) = default;
};

/// What a tunnel's certificate says.
struct ProvenCertificate {
  std::string key;  ///< key_of() the agent.
  std::string serial;
  std::chrono::sys_seconds not_after = std::chrono::sys_seconds::max();
};

/// The links of all agents, and the rules by which a new tunnel replaces others (SPEC 8.1). Pure; used at home.
///
/// A link is all tunnels of one agent process. A tunnel with a higher epoch replaces all tunnels of the link. With the
/// same epoch it replaces the tunnel of its slot, if there is one. One with a lower epoch is refused, so that an agent
/// process that was suspended does not replace its own successor.
///
/// An agent, which is what a certificate names, has a limit of tunnels over all its links. Beyond it the tunnels of its
/// oldest link go first, so that whoever holds the certificate can always connect, but never takes more.
class AgentDirectory {
 public:
  struct Joined {
    bool stale = false;              ///< Refused: its epoch is older.
    std::vector<TunnelRef> evicted;  ///< Tunnels to close, whose place in the link the new one takes.
    std::vector<TunnelRef> surplus;  ///< Tunnels to close since the agent has too many.
    LinkQuota quota;                 ///< Quota of the link.
    /// Another process with the same identity is connected: a second agent, or a stolen key.
    bool second_instance = false;
  };
  /// Adds a tunnel to its link. `tunnels_max` is the limit of the agent.
  Joined join(const std::string& spiffe_id, const protocol::Hello& hello, TunnelRef ref, std::size_t tunnels_max,
              ProvenCertificate certificate = {});
  /// Removes a tunnel. Does nothing if it is unknown.
  void leave(std::uint64_t tunnel);

  /// Whether a tunnel of the same link has proved a certificate that has not ended at `now`.
  bool has_valid_certificate(std::uint64_t tunnel, std::chrono::system_clock::time_point now) const;

  /// Each link: its key, the serial of its newest tunnel's certificate, its software.
  struct Connected {
    std::string key;
    std::string serial;
    std::string software;
  };
  std::vector<Connected> connected() const;

  std::size_t links() const { return links_.size(); }

 private:
  using Key = std::pair<std::string, protocol::InstanceId>;
  struct Member {
    std::uint32_t slot = 0;
    TunnelRef ref;
    ProvenCertificate certificate;
  };
  struct Link {
    std::uint64_t number = 0;  ///< A higher one is of a link that began later.
    std::uint64_t epoch = 0;
    std::vector<Member> members;  ///< In the order in which they joined.
    std::string software;         ///< As the last HELLO names it.
    LinkQuota quota;
  };
  using Links = std::map<Key, Link>;
  void take_surplus(const std::string& spiffe_id, TunnelRef newest, std::size_t tunnels_max,
                    std::vector<TunnelRef>& surplus);

  Links links_;
  std::uint64_t last_number_ = 0;
  std::unordered_map<std::uint64_t, Links::iterator> link_of_;  ///< Keyed by tunnel id; thousands may leave at once.
};

}  // namespace culvert::server
