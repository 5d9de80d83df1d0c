// SPDX-License-Identifier: Apache-2.0
#include "common/base/backoff.hpp"

#include <algorithm>
#include <cstdint>

namespace culvert {

using namespace std::chrono_literals;

namespace {
constexpr std::chrono::milliseconds first_ceiling = 250ms;
constexpr std::chrono::milliseconds early_ceiling = 1500ms;  // Back within 2 s of a restarted server.
constexpr std::chrono::milliseconds late_ceiling = 30s;
constexpr std::chrono::seconds early_period = 60s;
constexpr std::chrono::seconds settled_after = 30s;  // A tunnel that dies sooner has proved nothing.
constexpr unsigned doublings_max = 7;                // 0.25 s * 2^7 exceeds every ceiling.
}  // namespace

std::chrono::milliseconds Backoff::next_delay(TimePoint now) {
  if (up_since_ && now - *up_since_ >= settled_after) {
    outage_since_.reset();
    tries_ = 0;
  }
  up_since_.reset();
  if (!outage_since_) outage_since_ = now;

  const auto cap = now - *outage_since_ < early_period ? early_ceiling : late_ceiling;
  const auto ceiling = std::min(cap, first_ceiling * (1u << tries_));
  tries_ = std::min(tries_ + 1, doublings_max);
  return std::chrono::milliseconds(static_cast<std::int64_t>(random_() * static_cast<double>(ceiling.count())));
}

}  // namespace culvert
