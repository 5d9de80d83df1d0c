// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/links/quick_tries.hpp"
#include "common/base/backoff.hpp"
#include "common/base/error.hpp"

namespace culvert::agent {

/// Decides how one link behaves: how many tunnels it wants, when each is dialled, with which epoch and slot, and what
/// is logged (SPEC 8.1, 8.3 to 8.5). Pure: events come in with their time, decisions come out, chance is injected.
/// Lives at home; ServerLink carries the decisions out.
///
/// A keeper keeps one tunnel up: it dials, has the tunnel until it drains or ends, and dials again. It retires instead
/// when fewer keepers are wanted. One is wanted while no tunnel is up, since the first tunnel shows which replica the
/// others must reach and whether it exists; then one for each wanted tunnel. A keeper that retires leaves its back-off
/// to the next one, so that a server which ends each new tunnel, in whatever way, is dialled less and less often.
///
/// Calls: succeed()*, start(), events, drain(), events. Each decision is carried out before the next event comes in.
class LinkPolicy {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using KeeperId = std::uint64_t;
  using TunnelId = std::uint64_t;  ///< Unique in the process.

  struct Settings {
    std::uint32_t tunnels_min = 2;
    std::uint32_t tunnels_max = 8;
    std::chrono::microseconds far_round_trip{10'000};  ///< A server at least this far away gets tunnels_max at once.
    bool behind_proxy = false;                         ///< TCP ends at a proxy, before the server.
    QuickTries* quick_tries = nullptr;  ///< Of all links of the server; outlives them. nullptr: no limit.
  };

  /// `keeper` dials once after `pause`, and reports dialed() or dial_failed().
  struct Dial {
    KeeperId keeper = 0;
    std::chrono::milliseconds pause{0};
    friend bool operator==(const Dial&, const Dial&) = default;
  };
  /// What must be done with the tunnel that the event is about.
  enum class TunnelOrder : std::uint8_t { none, close_as_wrong_replica, close_when_empty };
  /// Which line the event is worth, if any.
  enum class LogLine : std::uint8_t {
    none,
    server_unreachable,   ///< Logged once per kind of failure, not once per try.
    replica_unreachable,  ///< Logged once until the replica answers.
    tunnel_up,
    link_widened,
    tunnel_draining,
    tunnel_left,  ///< It ended because one side asked for it.
    tunnel_lost,
  };
  struct Decision {
    std::vector<Dial> dials;
    TunnelOrder order = TunnelOrder::none;
    LogLine log = LogLine::none;
    bool notify_owner = false;      ///< Tunnels or announced replicas changed.
    std::optional<TunnelId> leave;  ///< A tunnel whose successor is up: drain it, and close it when it is empty.
  };

  /// What the tunnel's HELLO says, beside replica().
  struct Greeting {
    std::uint64_t epoch = 0;
    std::uint32_t slot = 0;
    friend bool operator==(const Greeting&, const Greeting&) = default;
  };
  /// What a WELCOME says, and how far away its sender is by two measures (Tunnel).
  struct Welcome {
    std::string replica;
    std::vector<std::string> replicas;
    std::chrono::microseconds tcp_round_trip{0};
    std::chrono::microseconds tls_round_trip{0};
  };

  /// `replica` is the one to reach; empty accepts any, and the first that answers becomes replica(). `chance` returns
  /// evenly spread numbers of [0, 1).
  LinkPolicy(const Settings& settings, std::string replica, std::function<double()> chance);
  LinkPolicy(const LinkPolicy&) = delete;
  LinkPolicy& operator=(const LinkPolicy&) = delete;

  /// This link replaces `older` in the same process, whose tunnels live on for a while. The server takes both for one
  /// link, so this one adopts a higher epoch and avoids the slots of the tunnels that `older` has in it.
  void succeed(const LinkPolicy& older);
  /// This link replaces `older`, which has given up: its keepers continue the back-off of the older ones.
  void continue_backoff(const LinkPolicy& older);
  Decision start(TimePoint now);

  // ---- events; those of a tunnel that is not known change nothing

  /// The dial failed, or its connection could not become a tunnel.
  Decision dial_failed(KeeperId keeper, const Error& why, TimePoint now);
  /// The keeper's connection becomes `tunnel`. Every such tunnel ends in closed().
  Greeting dialed(KeeperId keeper, TunnelId tunnel);
  Decision welcomed(TunnelId tunnel, const Welcome& welcome, TimePoint now);
  Decision announced(std::vector<std::string> replicas);
  /// Congestion limits one of the tunnels.
  Decision congested(TimePoint now);
  /// The tunnel takes no new streams; a successor should be up within `delay`.
  Decision draining(TunnelId tunnel, std::chrono::milliseconds delay, TimePoint now);
  /// Replaces the tunnel by one with a newer certificate, which is dialled within `delay`. The old one takes new
  /// streams until its successor is up.
  Decision replace(TunnelId tunnel, std::chrono::milliseconds delay, TimePoint now);
  Decision closed(TunnelId tunnel, const Error& why, TimePoint now);
  /// From now on nothing is dialled and the owner is not notified.
  void drain() { draining_ = true; }

  /// How many times in a row other replicas may answer before this link has given up and dials less and less often.
  void set_quick_tries_max(std::uint32_t tries) { quick_tries_max_ = tries; }

  const std::string& replica() const { return replica_; }
  /// All replicas of the server that this one announced last.
  const std::vector<std::string>& announced_replicas() const { return announced_replicas_; }
  const std::string& last_error() const { return last_error_; }
  std::uint32_t misses() const { return misses_; }
  bool has_given_up() const { return misses_ >= quick_tries_max_; }
  bool is_draining() const { return draining_; }
  std::uint32_t tunnels_wanted() const { return tunnels_wanted_; }
  /// Those that take new streams.
  std::size_t tunnels_up() const;

 private:
  struct State {
    std::uint32_t slot = 0;
    std::optional<KeeperId> keeper;     ///< None once its keeper dials the successor.
    std::optional<KeeperId> successor;  ///< Of a tunnel that is being replaced: the keeper that dials.
    bool up = false;
    bool draining = false;
  };

  struct Keeper {
    Backoff backoff;
    TimePoint dials_at;  ///< When its last dial was due.
  };

  std::uint32_t keepers_wanted() const;
  void add_keepers(TimePoint now, Decision& decision);
  void dial_again(KeeperId keeper, std::chrono::milliseconds pause, TimePoint now, Decision& decision);
  std::uint32_t free_slot() const;
  std::optional<TunnelId> predecessor_of(const State& fresh);
  LogLine note_failure(const Error& why);
  LogLine note_miss(const Error& why);
  void note_all_lost();
  std::chrono::milliseconds slow_pause() const;
  std::chrono::milliseconds pause_after_miss(TimePoint now);
  std::chrono::milliseconds between(std::chrono::milliseconds least, std::chrono::milliseconds most);

  const Settings settings_;
  std::string replica_;
  std::function<double()> chance_;
  std::vector<std::string> announced_replicas_;

  std::map<TunnelId, State> tunnels_;
  std::map<KeeperId, Keeper> keepers_;
  std::vector<Keeper> retired_;  ///< Those that the next keepers continue. With keepers_, at most tunnels_max.
  KeeperId next_keeper_ = 0;

  std::uint64_t epoch_ = 1;
  bool was_up_ = false;                    ///< A tunnel was welcomed in this epoch.
  std::set<std::uint32_t> foreign_slots_;  ///< Slots that links which this one succeeds have in this epoch.
  std::uint32_t tunnels_wanted_;           ///< tunnels_min; more where it is far or congested, until the link is lost.
  std::optional<TimePoint> widened_at_;

  std::uint32_t misses_ = 0;  ///< How many times in a row another replica answered.
  std::uint32_t quick_tries_max_ = 3;
  bool miss_logged_ = false;
  std::string logged_code_;  ///< The error code of the last server_unreachable.
  std::string last_error_;
  bool draining_ = false;
};

}  // namespace culvert::agent
