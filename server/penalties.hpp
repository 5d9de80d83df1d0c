// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <map>

#include <boost/asio/ip/address.hpp>

namespace culvert::server {

/// Sources that failed to prove who they are: each may fail `failures_max` times at once, and once more per
/// `forgiveness` (threats C4, E1). An IPv6 source counts as its /64. Pure; on one thread.
class Penalties {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr int failures_max = 10;
  static constexpr std::chrono::seconds forgiveness{6};
  /// When as many are remembered, and none can be forgiven yet, another one is not noted: a flood must not lock out
  /// everybody else.
  static constexpr std::size_t sources_max = 16'384;

  bool listens_to(const boost::asio::ip::address& source, Time now) const;
  void note_failure(const boost::asio::ip::address& source, Time now);
  std::size_t size() const { return forgiven_at_.size(); }

 private:
  /// When all failures of a source will be forgiven: each failure moves it by `forgiveness`.
  std::map<boost::asio::ip::address, Time> forgiven_at_;
  Time swept_at_;
};

}  // namespace culvert::server
