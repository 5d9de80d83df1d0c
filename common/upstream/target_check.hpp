// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/json/array.hpp>

#include "common/admin/log.hpp"
#include "common/net/task_group.hpp"
#include "common/upstream/target_dialer.hpp"

namespace culvert {

/// Checks whether the targets of a configuration answer: dials each once, with TLS if configured, and ends the
/// connection at once. On one worker.
class TargetCheck {
 public:
  static constexpr std::size_t dials_max = 64;
  static constexpr std::chrono::seconds dial_time_max{3};
  static constexpr std::chrono::seconds time_max{8};  ///< Limit for all targets; the rest is reported as "not_checked".

  struct Outcome {
    std::string name;
    Endpoint endpoint;
    Error error;  ///< Without a code if the target answered.
  };
  using Done = std::function<void(std::vector<Outcome>)>;

  TargetCheck(Worker& worker, Log& log);

  /// Starts a check. Calls `done` with the outcomes in the order of the targets, unless it is stopped before.
  void start(std::vector<StreamTarget> targets, Done done);

  /// Stops checks. Wait for is_over() before the object is destroyed.
  void request_stop() { lanes_.request_stop(); }
  bool is_over() const { return lanes_.size() == 0; }

 private:
  struct Round;
  boost::asio::awaitable<void> run(std::shared_ptr<Round> round);

  Dialer dialer_;
  TaskGroup lanes_;
};

/// Makes the output of the command `targets`.
boost::json::array to_json(const std::vector<TargetCheck::Outcome>& outcomes);

}  // namespace culvert
