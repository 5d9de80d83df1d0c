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

/// Streams by the reason of their end: the closed list of SPEC 10, from not_exposed on.
class ReasonCounters {
 public:
  void add(protocol::Reason reason) {
    const auto number = std::to_underlying(reason);
    counters_[number >= first && number - first < counters_.size() ? number - first : 0].add();
  }
  void each(const std::function<void(std::string_view reason, std::uint64_t count)>& use) const;

 private:
  /// The number below the first reason; its counter counts all other reasons.
  static constexpr std::size_t first = std::to_underlying(protocol::Reason::not_exposed) - 1;
  std::array<Counter, 32> counters_;
};

/// Counters of one worker. Written on the worker, read by the admin thread.
class DataPlaneCounters {
 public:
  Gauge tunnels;
  Gauge streams;
  Gauge relays;
  Gauge clients;         ///< Connections to ports that speak HTTP or SOCKS.
  Gauge buffered_bytes;  ///< Bytes that wait in relays for slow sockets.
  Gauge window_bytes;    ///< Windows granted to peers.
  Gauge dials;           ///< Dials in progress.
  Counter tunnel_bytes_in;
  Counter tunnel_bytes_out;
  Counter stream_bytes_in;  ///< Bytes from tunnels to sockets.
  Counter stream_bytes_out;
  Counter streams_opened;
  Counter streams_accepted;
  Counter streams_relieved;  ///< Streams that were reset to free memory.
  ReasonCounters streams_rejected;
  ReasonCounters streams_reset;
  Counter& http_responses(int status) { return http_response_classes_[static_cast<std::size_t>(status) / 100 % 10]; }
  Counter& http_errors(int status) { return http_errors_[static_cast<std::size_t>(status) % 600]; }
  std::array<Counter, 9> socks5_replies;  ///< Indexed by reply code.

  void collect(MetricsPage& page) const;

 private:
  std::array<Counter, 10> http_response_classes_;  ///< Responses of back ends, by status / 100.
  std::array<Counter, 600> http_errors_;           ///< Errors that the proxy answered, by status.
};

}  // namespace culvert
