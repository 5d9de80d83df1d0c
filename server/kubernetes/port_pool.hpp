// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <set>

#include "common/net/endpoint.hpp"

namespace culvert::server {

/// The port numbers that can be given out, in the order in which they are. A port that came back is the last to be
/// given out again, so that a replica or a workload that has not heard of the change does not reach another's host.
/// Pure.
class PortPool {
 public:
  explicit PortPool(PortRange range) : range_(range) {}

  /// These ports are in use now, also those that another replica assigned. The first call decides where a restarted
  /// process goes on: behind the highest port in use.
  void update(const std::set<std::uint16_t>& in_use);
  /// Gives out a port; 0: none is left. From then on the port is in use until update() says otherwise.
  std::uint16_t take();

 private:
  PortRange range_;
  bool is_filled_ = false;
  std::deque<std::uint16_t> free_;
};

}  // namespace culvert::server
