// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "common/admin/metrics.hpp"
#include "common/base/counter.hpp"
#include "protocol/reason.hpp"

namespace culvert {

/// Streams by why they ended: the closed list of SPEC 10, from not_exposed on.
class ReasonCounters {
 public:
  void add(protocol::Reason reason) {
    const auto number = std::to_underlying(reason);
    counters_[number >= first && number - first < counters_.size() ? number - first : 0].add();
  }
  void each(const std::function<void(std::string_view reason, std::uint64_t count)>& use) const;

 private:
  static constexpr std::size_t first = std::to_underlying(protocol::Reason::not_exposed) - 1;  ///< Of the others.
  std::array<Counter, 32> counters_;
};

/// What one worker counts; read by the admin thread.
class DataPlaneCounters {
 public:
  Gauge tunnels;
  Gauge streams;
  Gauge relays;
  Gauge buffered_bytes;  ///< Waiting in relays for slow sockets.
  Gauge window_bytes;    ///< Granted to peers.
  Gauge dials;           ///< Under way.
  Counter tunnel_bytes_in;
  Counter tunnel_bytes_out;
  Counter stream_bytes_in;  ///< From tunnels to sockets.
  Counter stream_bytes_out;
  Counter streams_opened;
  Counter streams_accepted;
  ReasonCounters streams_rejected;
  ReasonCounters streams_reset;
  Counter& http_responses(int status) { return http_response_classes_[static_cast<std::size_t>(status) / 100 % 10]; }
  Counter& http_errors(int status) { return http_errors_[static_cast<std::size_t>(status) % 600]; }
  std::array<Counter, 9> socks5_replies;  ///< By code.

  void collect(MetricsPage& page) const;

 private:
  std::array<Counter, 10> http_response_classes_;  ///< Of back ends, by status / 100.
  std::array<Counter, 600> http_errors_;           ///< Made by the proxy, by status.
};

}  // namespace culvert
