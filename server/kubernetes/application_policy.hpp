// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/kubernetes/application_object.hpp"
#include "server/kubernetes/status_write.hpp"

// What the writer does about the cluster's Applications: which status to write, and which Events. Pure: no network, no
// clock.

namespace culvert::server {

/// A write of the status of one object, and the Events that tell of new problems.
struct ApplicationWrite {
  StatusWrite status;
  bool has_new_status = false;
  std::vector<RefusalReason> events;
};

class ApplicationPolicy {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// After a failure.
  static constexpr std::chrono::seconds retry{10};
  /// After a write that has changed nothing: Kyma's own definition has no place for our status.
  static constexpr std::chrono::seconds patience{300};

  enum class Outcome : std::uint8_t {
    done,
    untaken,  ///< The API server has no such status, or the object has changed or gone meanwhile.
    failed,
  };

  /// What is to be written now for the object of this key; call note() with the outcome. Nothing: all is said.
  std::optional<ApplicationWrite> next_write(const std::string& key, const ApplicationObject& object,
                                             const ApplicationReport& report, Time now, std::string_view date);
  void note(const ApplicationWrite& write, Outcome outcome, Time now);
  /// Forgets the objects that do not exist any more.
  void keep_only(const std::function<bool(const std::string& key)>& exists);

 private:
  /// The last attempt, so that one which has changed nothing is not repeated at once.
  struct Tried {
    std::string uid;
    std::string version;
    ApplicationReport report;
    Time again;
  };
  /// By the type of a condition: the problems that Events have told of.
  using Reasons = std::map<std::string, RefusalReason, std::less<>>;
  struct Told {
    std::string uid;
    Reasons reasons;
  };
  static Reasons reasons_in(const boost::json::object& status);

  WrittenStatuses written_;
  std::map<std::string, Tried> tried_;
  std::map<std::string, Told> told_;
};

}  // namespace culvert::server
