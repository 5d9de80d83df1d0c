// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/lease_policy.hpp"

namespace culvert::server {

LeasePolicy::Step LeasePolicy::renew(Step step, Clock::time_point now) {
  write_began_ = now;
  return step;
}

LeasePolicy::Step LeasePolicy::on_found(const LeaseRecord& found, Clock::time_point now) {
  if (found.version != seen_version_) {
    seen_version_ = found.version;
    seen_at_ = now;
  }
  const bool has_our_name = found.holder == identity_;
  if (leaving_) {
    if (!has_our_name) return End{};
    releases_ = true;
    return Update{.releases = true, .transitions = found.transitions, .acquired = found.acquired};
  }
  if (has_our_name) return renew(Update{.transitions = found.transitions, .acquired = found.acquired}, now);
  held_until_ = Clock::time_point::min();
  // In seconds, since a duration of any size must not overflow.
  const auto unchanged = std::chrono::floor<std::chrono::seconds>(now - seen_at_);
  if (!found.holder.empty() && unchanged < found.duration) return Wait{retry};
  return renew(Update{.transitions = found.transitions + 1, .acquired = ""}, now);
}

LeasePolicy::Step LeasePolicy::next(const Outcome& outcome, Clock::time_point now) {
  if (const auto* found = std::get_if<Found>(&outcome)) return on_found(found->record, now);
  if (std::holds_alternative<Begun>(outcome)) return Get{};
  if (std::holds_alternative<Missing>(outcome)) return leaving_ ? Step(End{}) : renew(Create{}, now);
  if (std::holds_alternative<Written>(outcome)) {
    // A renewal that was under way when leave() was called has to be undone.
    if (leaving_) return releases_ ? Step(End{}) : Step(Get{});
    held_until_ = write_began_ + trust;
    return Wait{write_began_ + renewal - now};
  }
  if (std::holds_alternative<Conflict>(outcome)) {
    held_until_ = Clock::time_point::min();
    return leaving_ ? Step(Get{}) : Step(Wait{retry});
  }
  // Failed: while our last write is young enough, no other replica has replaced us.
  return leaving_ ? Step(End{}) : Step(Wait{retry});
}

}  // namespace culvert::server
