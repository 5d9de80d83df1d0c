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
/// Invariant: sent_ <= limit_, except for the last HEAD. Never throws.
class SendCredit {
 public:
  explicit SendCredit(std::uint64_t limit) : limit_(limit) {}

  enum class Raise { raised, stale };
  /// The peer's new limit. A limit that is not above the last one is stale and ignored. A limit more than
  /// window_bytes_max beyond what we have sent is Reason::flow_control.
  [[nodiscard]] std::expected<Raise, Reason> raise_limit(std::uint64_t limit);
  /// Bytes that may be sent now. If 0, wait for CREDIT; do not poll.
  std::uint64_t available() const { return limit_ > sent_ ? limit_ - sent_ : 0; }
  void spend(std::uint64_t bytes);
  /// A HEAD may exceed the limit if any credit is left (SPEC 7.5).
  void spend_head(std::uint64_t bytes);
  std::uint64_t sent() const { return sent_; }

 private:
  std::uint64_t limit_;
  std::uint64_t sent_ = 0;
};

/// One stream's receiving half (SPEC 7.2): what the peer may send, what came, and what our side has taken. The window
/// is the most that may be in flight or wait here: memory that the driver granted. Invariant: taken_ <= received_,
/// received_ <= limit_ (except for the last HEAD), limit_ <= taken_ + window_.
class ReceiveCredit {
 public:
  ReceiveCredit(std::uint64_t window, Time now) : window_(window), limit_(window), epoch_started_(now) {}

  /// The peer sent this many bytes of DATA. nullopt: they were within its credit.
  [[nodiscard]] std::optional<Reason> receive(std::uint64_t bytes);
  /// The same for a HEAD (SPEC 7.5).
  [[nodiscard]] std::optional<Reason> receive_head(std::uint64_t bytes);
  /// Our side took this many of the received bytes. True: a quarter of the window is free again, so a CREDIT with
  /// announce() is due.
  [[nodiscard]] bool take(std::uint64_t bytes);
  /// Raises the limit to the most that the window allows, and returns it for CREDIT or ACCEPT.
  std::uint64_t announce();
  /// True once per window that was drained within two round trips: the stream is limited by its window (SPEC 7.3).
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
