// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "protocol/credit.hpp"

namespace culvert::protocol {

/// When to ping, when the peer is dead, and how far away it is (SPEC 8.2).
class Liveness {
 public:
  explicit Liveness(Time now)
      : started_(now),
        last_received_(now),
        last_data_(now),
        last_ping_(now),
        bucket_started_(now),
        pings_counted_(now) {}

  /// Any byte came.
  void received(Time now) { last_received_ = now; }
  /// A frame other than PING came: the tunnel is in use, and its round trip is worth knowing.
  void received_data(Time now) { last_data_ = now; }
  /// PING came. False: it is more than a well-behaved peer sends.
  [[nodiscard]] bool allow_ping(Time now);
  /// The caller sends a PING that due() did not ask for, as the first one is.
  void pinged(Time now) {
    last_ping_ = now;
    ping_unanswered_ = true;
  }
  /// PONG came, with the stamp of our PING.
  void pong(Time sent, Time now);

  enum class Due : std::uint8_t { nothing, ping, dead };
  /// What must happen at `now`. After `ping` the caller sends one stamped with `now`.
  Due due(Time now, bool greeted);
  /// When due() may next return something other than `nothing`.
  Time deadline(bool greeted) const;

  /// The last measured round trip, and the shortest of the last 30 s; nullopt before the first measurement.
  std::optional<Time> round_trip() const { return last_round_trip_; }
  std::optional<Time> round_trip_min() const;

 private:
  Time started_;
  Time last_received_;
  Time last_data_;
  Time last_ping_;
  bool ping_unanswered_ = false;
  std::optional<Time> last_round_trip_;
  // The minima of two half-periods: together they never look back further than round_trip_memory.
  std::optional<Time> bucket_min_;
  std::optional<Time> previous_min_;
  Time bucket_started_;
  std::uint32_t pings_left_ = 2 * pings_per_second_max;
  Time pings_counted_;
};

}  // namespace culvert::protocol
