// SPDX-License-Identifier: Apache-2.0
#include "protocol/credit.hpp"

#include <algorithm>

#include "protocol/check.hpp"

namespace culvert::protocol {

std::expected<SendCredit::Raise, Reason> SendCredit::raise_limit(std::uint64_t limit) {
  if (limit <= limit_) return Raise::stale;
  if (limit > sent_ && limit - sent_ > window_bytes_max) return std::unexpected(Reason::flow_control);
  limit_ = limit;
  return Raise::raised;
}

void SendCredit::spend(std::uint64_t bytes) {
  check(bytes <= available(), "a stream never sends beyond its credit");
  sent_ += bytes;
}

void SendCredit::spend_head(std::uint64_t bytes) {
  check(available() > 0, "a stream that is out of credit sends no HEAD");
  sent_ += bytes;
}

std::optional<Reason> ReceiveCredit::receive(std::uint64_t bytes) {
  const std::uint64_t credit = limit_ > received_ ? limit_ - received_ : 0;
  if (bytes > credit) return Reason::flow_control;
  received_ += bytes;
  return std::nullopt;
}

std::optional<Reason> ReceiveCredit::receive_head(std::uint64_t bytes) {
  if (received_ >= limit_) return Reason::flow_control;
  received_ += bytes;
  return std::nullopt;
}

bool ReceiveCredit::take(std::uint64_t bytes) {
  check(bytes <= waiting(), "a stream takes only what it received");
  taken_ += bytes;
  return taken_ + window_ - limit_ >= window_ / 4;
}

std::uint64_t ReceiveCredit::announce() {
  limit_ = taken_ + window_;
  return limit_;
}

bool ReceiveCredit::wants_growth(Time now, std::optional<Time> round_trip) {
  if (taken_ - epoch_taken_ < window_) return false;
  const Time elapsed = now - epoch_started_;
  epoch_taken_ = taken_;
  epoch_started_ = now;
  if (!round_trip || elapsed > 2 * *round_trip) return false;
  // More than a stream can fill within a round trip would only wait in a queue, ahead of other streams' small requests.
  const auto fills = static_cast<std::uint64_t>(round_trip->count()) * window_bytes_per_us;
  return window_ < std::min(fills, *round_trip > far_round_trip ? window_bytes_max : window_bytes_near_max);
}

}  // namespace culvert::protocol
