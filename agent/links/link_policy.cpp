// SPDX-License-Identifier: Apache-2.0
#include "agent/links/link_policy.hpp"

#include <algorithm>
#include <utility>

namespace culvert::agent {

using std::chrono::milliseconds;

namespace {

constexpr std::chrono::seconds widen_pause{1};
constexpr std::string_view wrong_replica_code = "tunnel.wrong_replica";

// SPEC 8.5: pauses after wrong_replica.
constexpr milliseconds quick_pause_min{0};
constexpr milliseconds quick_pause_max{60};
constexpr milliseconds slow_pause_first{120};
constexpr int slow_pause_growth = 2;
constexpr milliseconds slow_pause_last{30'000};

std::string to_text(const Error& error) {
  return error.code + ": " + error.text;
}

}  // namespace

LinkPolicy::LinkPolicy(const Settings& settings, std::string replica, std::function<double()> chance)
    : settings_(settings),
      replica_(std::move(replica)),
      chance_(std::move(chance)),
      tunnels_wanted_(settings.tunnels_min) {}

void LinkPolicy::succeed(const LinkPolicy& older) {
  if (older.epoch_ < epoch_) return;
  if (older.epoch_ > epoch_) foreign_slots_.clear();
  epoch_ = older.epoch_;
  for (const auto& [id, tunnel] : older.tunnels_) foreign_slots_.insert(tunnel.slot);
}

void LinkPolicy::continue_backoff(const LinkPolicy& older) {
  retired_ = older.retired_;
  for (const auto& [id, keeper] : older.keepers_) retired_.push_back(keeper);
}

LinkPolicy::Decision LinkPolicy::start(TimePoint now) {
  Decision decision;
  add_keepers(now, decision);
  return decision;
}

// ---- keepers

std::uint32_t LinkPolicy::keepers_wanted() const {
  return tunnels_up() == 0 ? 1 : tunnels_wanted_;
}

void LinkPolicy::add_keepers(TimePoint now, Decision& decision) {
  while (!draining_ && keepers_.size() < keepers_wanted()) {
    const KeeperId id = next_keeper_++;
    Keeper keeper{{}, now};
    if (!retired_.empty()) {
      keeper = retired_.back();
      retired_.pop_back();
    }
    const auto pause = std::chrono::ceil<milliseconds>(keeper.dials_at - now);
    keepers_.emplace(id, keeper);
    decision.dials.push_back({id, std::max(pause, milliseconds(0))});
  }
}

/// Unless fewer keepers are wanted by now.
void LinkPolicy::dial_again(KeeperId keeper, milliseconds pause, TimePoint now, Decision& decision) {
  if (draining_) return;
  const auto found = keepers_.find(keeper);
  found->second.dials_at = now + pause;
  if (keepers_.size() > keepers_wanted()) {
    retired_.push_back(found->second);
    keepers_.erase(found);
  } else {
    decision.dials.push_back({keeper, pause});
  }
}

LinkPolicy::Decision LinkPolicy::dial_failed(KeeperId keeper, const Error& why, TimePoint now) {
  Decision decision;
  decision.log = note_failure(why);
  dial_again(keeper, keepers_.at(keeper).backoff.next_delay(now, chance_()), now, decision);
  return decision;
}

LinkPolicy::Greeting LinkPolicy::dialed(KeeperId keeper, TunnelId tunnel) {
  const Greeting greeting{epoch_, free_slot()};
  tunnels_[tunnel] = {.slot = greeting.slot, .keeper = keeper};
  return greeting;
}

/// The same slot would evict the tunnel that has it (SPEC 8.1), also one that drains.
std::uint32_t LinkPolicy::free_slot() const {
  std::set<std::uint32_t> taken = foreign_slots_;
  for (const auto& [id, tunnel] : tunnels_) taken.insert(tunnel.slot);
  std::uint32_t slot = 0;
  while (taken.contains(slot)) ++slot;
  return slot;
}

// ---- tunnels

std::size_t LinkPolicy::tunnels_up() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(tunnels_, [](const auto& entry) { return entry.second.up && !entry.second.draining; }));
}

LinkPolicy::Decision LinkPolicy::welcomed(TunnelId tunnel, const Welcome& welcome, TimePoint now) {
  Decision decision;
  const auto found = tunnels_.find(tunnel);
  if (found == tunnels_.end()) return decision;
  if (welcome.replica != replica_ && (!replica_.empty() || tunnels_up() > 0)) {
    decision.order = TunnelOrder::close_as_wrong_replica;
    return decision;
  }
  State& state = found->second;
  state.up = was_up_ = true;
  if (state.keeper) keepers_.at(*state.keeper).backoff.up(now);
  replica_ = welcome.replica;
  announced_replicas_ = welcome.replicas.empty() ? std::vector{replica_} : welcome.replicas;
  misses_ = 0;
  miss_logged_ = false;
  logged_code_.clear();
  last_error_.clear();
  decision.log = LogLine::tunnel_up;
  // The TLS handshake includes computing time on a busy machine, so it counts only where TCP ends before the server.
  const auto round_trip = settings_.behind_proxy ? welcome.tls_round_trip : welcome.tcp_round_trip;
  if (round_trip >= settings_.far_round_trip) tunnels_wanted_ = settings_.tunnels_max;
  add_keepers(now, decision);
  decision.leave = predecessor_of(state);
  decision.notify_owner = !draining_;
  return decision;
}

/// The tunnel that the one which has just come up replaces, if there is one. From now on it drains.
std::optional<LinkPolicy::TunnelId> LinkPolicy::predecessor_of(const State& fresh) {
  if (!fresh.keeper) return std::nullopt;
  for (auto& [id, state] : tunnels_) {
    if (state.successor != fresh.keeper || state.draining) continue;
    state.successor.reset();
    state.draining = true;
    return id;
  }
  return std::nullopt;
}

LinkPolicy::Decision LinkPolicy::announced(std::vector<std::string> replicas) {
  announced_replicas_ = std::move(replicas);
  if (announced_replicas_.empty()) announced_replicas_.emplace_back();  // A server without a name.
  Decision decision;
  decision.notify_owner = !draining_;
  return decision;
}

/// Adds one tunnel. Each tunnel of the link may report congestion, hence the pause.
LinkPolicy::Decision LinkPolicy::congested(TimePoint now) {
  Decision decision;
  if (draining_ || tunnels_wanted_ >= settings_.tunnels_max) return decision;
  if (widened_at_ && now - *widened_at_ < widen_pause) return decision;
  widened_at_ = now;
  ++tunnels_wanted_;
  decision.log = LogLine::link_widened;
  add_keepers(now, decision);
  return decision;
}

/// Make before break: the tunnel lives on until its streams have ended, while its keeper dials the successor.
LinkPolicy::Decision LinkPolicy::draining(TunnelId tunnel, milliseconds delay, TimePoint now) {
  Decision decision;
  const auto found = tunnels_.find(tunnel);
  if (found == tunnels_.end() || std::exchange(found->second.draining, true)) return decision;
  decision.order = TunnelOrder::close_when_empty;
  decision.log = LogLine::tunnel_draining;
  const auto keeper = std::exchange(found->second.keeper, {});
  if (keeper) {
    const auto least = keepers_.at(*keeper).backoff.delay_of_successor(now, chance_());
    dial_again(*keeper, std::max(least, between(milliseconds(0), delay)), now, decision);
  }
  decision.notify_owner = !draining_;
  return decision;
}

LinkPolicy::Decision LinkPolicy::replace(TunnelId tunnel, milliseconds delay, TimePoint now) {
  Decision decision;
  const auto found = tunnels_.find(tunnel);
  if (found == tunnels_.end() || !found->second.up || !found->second.keeper) return decision;
  const KeeperId keeper = std::exchange(found->second.keeper, {}).value_or(0);  // Checked above.
  found->second.successor = keeper;
  dial_again(keeper, between(milliseconds(0), delay), now, decision);
  return decision;
}

LinkPolicy::Decision LinkPolicy::closed(TunnelId tunnel, const Error& why, TimePoint now) {
  Decision decision;
  const auto found = tunnels_.find(tunnel);
  if (found == tunnels_.end()) return decision;
  const State state = found->second;
  tunnels_.erase(found);
  const bool missed = !state.up && why.code == wrong_replica_code;
  if (state.up) {
    const bool left = state.draining || draining_;
    last_error_ = left ? "" : to_text(why);
    decision.log = left ? LogLine::tunnel_left : LogLine::tunnel_lost;
  } else {
    decision.log = missed ? note_miss(why) : note_failure(why);
  }
  if (tunnels_.empty()) note_all_lost();
  if (state.keeper) {
    const auto pause = missed ? pause_after_miss(now) : keepers_.at(*state.keeper).backoff.next_delay(now, chance_());
    dial_again(*state.keeper, pause, now, decision);
  }
  decision.notify_owner = !draining_;
  return decision;
}

/// The tunnels of the next epoch replace whatever the server still believes in. Earlier would be wrong: a tunnel that
/// drains still has streams, and one that is being greeted has sent the old epoch already.
void LinkPolicy::note_all_lost() {
  // The links that succeed this one, and others that drain, have streams in its epoch.
  if (draining_) return;
  if (!std::exchange(was_up_, false)) return;
  ++epoch_;
  foreign_slots_.clear();
  tunnels_wanted_ = settings_.tunnels_min;  // The next route may be a shorter one.
}

// ---- failures

LinkPolicy::LogLine LinkPolicy::note_failure(const Error& why) {
  last_error_ = to_text(why);
  return why.code == std::exchange(logged_code_, why.code) ? LogLine::none : LogLine::server_unreachable;
}

/// Another replica answered. Which one answers is a matter of chance, so a line is logged only after many misses.
LinkPolicy::LogLine LinkPolicy::note_miss(const Error& why) {
  last_error_ = to_text(why);
  ++misses_;
  if (slow_pause() < slow_pause_last || std::exchange(miss_logged_, true)) return LogLine::none;
  return LogLine::replica_unreachable;
}

/// After the quick tries, each pause is twice as long as the one before.
milliseconds LinkPolicy::slow_pause() const {
  milliseconds pause = slow_pause_first;
  for (std::uint32_t i = quick_tries_max_; i < misses_ && pause < slow_pause_last; ++i) pause *= slow_pause_growth;
  return std::min(pause, slow_pause_last);
}

/// Chance decides, and widely: two links that dial in turn miss each other again and again behind a balancer that takes
/// turns, too.
milliseconds LinkPolicy::pause_after_miss(TimePoint now) {
  const bool may_try = settings_.quick_tries == nullptr || has_given_up() || settings_.quick_tries->take(now);
  if (!may_try) quick_tries_max_ = misses_;
  if (!has_given_up()) return between(quick_pause_min, quick_pause_max);
  const milliseconds slow = slow_pause();
  return slow < slow_pause_last ? between(slow / 20, slow) : between(slow, slow * 5 / 4);
}

milliseconds LinkPolicy::between(milliseconds least, milliseconds most) {
  return least + milliseconds(static_cast<std::int64_t>(static_cast<double>((most - least).count()) * chance_()));
}

}  // namespace culvert::agent
