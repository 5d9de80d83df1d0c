// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>

namespace culvert {

/// Delay before the next attempt to open one tunnel. Full jitter, so that a thousand agents that lost the same server
/// do not reconnect in step. A value; pure: time and chance, a random number of [0, 1), are passed in.
class Backoff {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// The tunnel is up since `now`. Only a tunnel that stays up for 30 s ends the outage.
  void up(TimePoint now) { up_since_ = now; }
  /// The tunnel, or an attempt to open it, ended at `now`. Returns the delay until the next attempt: uniform between 0
  /// and a ceiling that starts at 0.25 s and doubles with each attempt, up to 1.5 s in the first minute of the outage
  /// and up to 30 s later.
  std::chrono::milliseconds next_delay(TimePoint now, double chance);
  /// The tunnel was asked to leave at `now`. Returns the least delay until its successor is dialled: none if it has
  /// been up for 30 s, otherwise as next_delay(), so that a server which drains each new tunnel is not dialled in a
  /// loop.
  std::chrono::milliseconds delay_of_successor(TimePoint now, double chance);

 private:
  bool end_outage_if_settled(TimePoint now);

  std::optional<TimePoint> up_since_;
  std::optional<TimePoint> outage_since_;
  unsigned tries_ = 0;
};

}  // namespace culvert
