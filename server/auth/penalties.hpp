// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <map>

#include <boost/asio/ip/address.hpp>

namespace culvert::server {

/// Sources with failed logins: each may fail `failures_max` times at once, and once more per `forgiveness` (threats C4,
/// E1). An IPv6 source counts as its /64. Pure; one thread only.
class Penalties {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr int failures_max = 10;
  static constexpr std::chrono::seconds forgiveness{6};
  /// If this many sources are remembered and none is forgiven yet, a further source is not noted: a flood must not lock
  /// out other clients.
  static constexpr std::size_t sources_max = 16'384;

  bool accepts(const boost::asio::ip::address& source, Time now) const;
  void note_failure(const boost::asio::ip::address& source, Time now);
  std::size_t size() const { return forgiven_at_.size(); }

 private:
  /// Time when all failures of a source are forgiven: each failure adds `forgiveness`.
  std::map<boost::asio::ip::address, Time> forgiven_at_;
  Time swept_at_;
};

}  // namespace culvert::server
