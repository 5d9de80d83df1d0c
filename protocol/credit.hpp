// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>

#include "protocol/limits.hpp"
#include "protocol/reason.hpp"

namespace culvert::protocol {

/// Monotonic time since some fixed moment. The driver's clock; protocol/ has none.
using Time = std::chrono::microseconds;

/// One stream's sending half of flow control, in absolute offsets of the stream (SPEC 7.1).
/// Invariant: sent_ <= limit_ but for the last HEAD. Lives in Session; never throws.
class SendCredit {
 public:
  explicit SendCredit(std::uint64_t limit) : limit_(limit) {}

  enum class Raise { raised, stale };
  /// The peer's new limit. One not above the last is stale and ignored; one beyond window_bytes_max of what we have
  /// sent is Reason::flow_control.
  [[nodiscard]] std::expected<Raise, Reason> raise_limit(std::uint64_t limit);
  /// Bytes that may be sent now. 0 means: wait for CREDIT, do not poll.
  std::uint64_t available() const { return limit_ > sent_ ? limit_ - sent_ : 0; }
  void spend(std::uint64_t bytes);
  /// A HEAD may go beyond the limit, if there is any credit at all (SPEC 7.5).
  void spend_head(std::uint64_t bytes);
  std::uint64_t sent() const { return sent_; }

 private:
  std::uint64_t limit_;
  std::uint64_t sent_ = 0;
};

/// One stream's receiving half (SPEC 7.2): what the peer may send, what came, what our side has taken. A window is what
/// may be under way or wait here at most; it is memory that somebody granted. Invariant: taken_ <= received_,
/// received_ <= limit_ but for the last HEAD, limit_ <= taken_ + window_.
class ReceiveCredit {
 public:
  ReceiveCredit(std::uint64_t window, Time now) : window_(window), limit_(window), epoch_started_(now) {}

  /// The peer sent so many bytes. nullopt: within its credit.
  [[nodiscard]] std::optional<Reason> receive(std::uint64_t bytes);
  /// The same of a HEAD (SPEC 7.5).
  [[nodiscard]] std::optional<Reason> receive_head(std::uint64_t bytes);
  /// Our side took so many of the received bytes. True: a CREDIT with limit() is due (a quarter of the window is free
  /// again).
  [[nodiscard]] bool take(std::uint64_t bytes);
  /// The limit to announce, raised to all that the window allows.
  std::uint64_t announce();
  /// True once per window that was drained within two round trips: the window is what holds the stream back (SPEC 7.3).
  bool wants_growth(Time now, std::optional<Time> round_trip);
  void grow(std::uint64_t bytes) { window_ += bytes; }

  std::uint64_t window() const { return window_; }
  std::uint64_t received() const { return received_; }
  std::uint64_t waiting() const { return received_ - taken_; }

 private:
  std::uint64_t window_;
  std::uint64_t limit_;
  std::uint64_t received_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t epoch_taken_ = 0;
  Time epoch_started_;
};

}  // namespace culvert::protocol
