// SPDX-License-Identifier: Apache-2.0
#include "common/base/backoff.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace culvert {

using namespace std::chrono_literals;

namespace {
constexpr std::chrono::milliseconds first_ceiling = 250ms;
constexpr std::chrono::milliseconds early_ceiling = 1500ms;  // An agent is back within 2 s of its server.
constexpr std::chrono::milliseconds late_ceiling = 30s;
constexpr std::chrono::seconds early_period = 60s;
constexpr std::chrono::seconds settled_after = 30s;  // A tunnel that ends sooner does not end the outage.
constexpr unsigned doublings_max = 7;                // 0.25 s * 2^7 exceeds every ceiling.
}  // namespace

bool Backoff::end_outage_if_settled(TimePoint now) {
  const auto up_since = std::exchange(up_since_, std::nullopt);
  if (!up_since || now - *up_since < settled_after) return false;
  outage_since_.reset();
  tries_ = 0;
  return true;
}

std::chrono::milliseconds Backoff::next_delay(TimePoint now, double chance) {
  (void)end_outage_if_settled(now);
  if (!outage_since_) outage_since_ = now;

  const auto cap = now - *outage_since_ < early_period ? early_ceiling : late_ceiling;
  const auto ceiling = std::min(cap, first_ceiling * (1u << tries_));
  tries_ = std::min(tries_ + 1, doublings_max);
  return std::chrono::milliseconds(static_cast<std::int64_t>(chance * static_cast<double>(ceiling.count())));
}

std::chrono::milliseconds Backoff::delay_of_successor(TimePoint now, double chance) {
  if (end_outage_if_settled(now)) return 0ms;
  return next_delay(now, chance);
}

}  // namespace culvert
