// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>

#include "protocol/credit.hpp"

namespace culvert::http {

/// The limit of interim responses to one request: in bytes per time, not in number, since a back end may tell of its
/// progress for as long as it works (102, 103).
class InterimLimit {
 public:
  /// From the tunnel more are taken, since messages and what the other program adds make them longer (SPEC 5.7).
  enum class From : std::size_t { socket = 64UL * 1024, tunnel = 128UL * 1024 };
  explicit InterimLimit(From from) : bytes_max_(static_cast<std::size_t>(from)) {}

  /// Returns false when there are too many: the exchange must end.
  bool take(std::size_t bytes, protocol::Time now) {
    constexpr std::chrono::seconds window{10};
    if (now - window_began_ >= window) {
      window_began_ = now;
      bytes_ = 0;
    }
    bytes_ += bytes;
    return bytes_ <= bytes_max_;
  }

 private:
  std::size_t bytes_max_;
  protocol::Time window_began_{0};
  std::size_t bytes_ = 0;
};

}  // namespace culvert::http
