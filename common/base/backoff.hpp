// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <optional>

namespace culvert {

/// How long to wait before the next try to bring one tunnel up: full jitter, so that a thousand agents that lost the
/// same server do not come back in step. Pure: time and chance are passed in. Belongs to one tunnel slot, on its
/// worker.
class Backoff {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// `random` answers numbers of [0, 1), evenly spread.
  explicit Backoff(std::function<double()> random) : random_(std::move(random)) {}

  /// The tunnel is up since `now`. Only one that stays up for 30 s ends the outage.
  void up(TimePoint now) { up_since_ = now; }
  /// The tunnel, or a try to bring it up, ended at `now`. Answers the delay until the next try: evenly spread between 0
  /// and a ceiling that starts at 0.25 s and doubles with each try, to 1.5 s in the first minute of the outage and to
  /// 30 s later.
  std::chrono::milliseconds next_delay(TimePoint now);

 private:
  std::function<double()> random_;
  std::optional<TimePoint> up_since_;
  std::optional<TimePoint> outage_since_;
  unsigned tries_ = 0;
};

}  // namespace culvert
