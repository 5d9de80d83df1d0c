// SPDX-License-Identifier: Apache-2.0
#include "protocol/liveness.hpp"

#include <algorithm>

namespace culvert::protocol {

bool Liveness::allow_ping(Time now) {
  // The PINGs of two seconds may come at once: a stalled network held them back.
  const auto refill = (now - pings_counted_) * std::int64_t{pings_per_second_max} / Time(std::chrono::seconds(1));
  if (refill > 0) {
    pings_left_ = static_cast<std::uint32_t>(
        std::min<std::int64_t>(pings_left_ + refill, std::int64_t{2} * pings_per_second_max));
    pings_counted_ = now;
  }
  if (pings_left_ == 0) return false;
  --pings_left_;
  return true;
}

void Liveness::pong(Time sent, Time now) {
  // A peer may answer with a stamp that we never sent; such an answer measures nothing.
  if (!ping_unanswered_ || sent != last_ping_) return;
  ping_unanswered_ = false;
  const Time sample = std::max(now - sent, Time(1));
  last_round_trip_ = sample;
  if (now - bucket_started_ > round_trip_memory / 2) {
    previous_min_ = bucket_min_;
    bucket_min_.reset();
    bucket_started_ = now;
  }
  bucket_min_ = bucket_min_ ? std::min(*bucket_min_, sample) : sample;
}

std::optional<Time> Liveness::round_trip_min() const {
  if (!bucket_min_) return previous_min_;
  return previous_min_ ? std::min(*bucket_min_, *previous_min_) : *bucket_min_;
}

Liveness::Due Liveness::due(Time now, bool greeted) {
  if (!greeted) return now - started_ >= greeting_time_max ? Due::dead : Due::nothing;
  const Time silence = now - last_received_;
  if (silence >= dead_after_silence) return Due::dead;
  const bool silent = silence >= ping_after_silence && now - last_ping_ >= ping_after_silence;
  const bool loaded = last_data_ > last_ping_ && now - last_ping_ >= ping_interval_under_load;
  if (!silent && !loaded) return Due::nothing;
  pinged(now);
  return Due::ping;
}

Time Liveness::deadline(bool greeted) const {
  if (!greeted) return started_ + greeting_time_max;
  const Time ping = std::max(last_received_, last_ping_) + ping_after_silence;
  const Time loaded = last_data_ > last_ping_ ? last_ping_ + ping_interval_under_load : ping;
  return std::min({ping, loaded, last_received_ + dead_after_silence});
}

}  // namespace culvert::protocol
