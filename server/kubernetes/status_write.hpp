// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include <boost/json/object.hpp>

// The status of an object as a value: what is to be written, in which form, and what was written a moment ago. Pure: no
// network, no clock.

namespace culvert::server {

/// A write of the status of one object.
struct StatusWrite {
  std::string key;      ///< As key_of() makes it.
  std::string uid;      ///< The object's.
  std::string version;  ///< resourceVersion: of an object that has changed since then nothing is written.
  boost::json::object before;
  boost::json::object status;
};

/// The merge patch of the write: members that `status` does not have any more are null, at every depth.
boost::json::object patch_of(const StatusWrite& write);

/// Why an object is not accepted.
struct RefusalReason {
  std::string reason;
  std::string message;
  friend bool operator==(const RefusalReason&, const RefusalReason&) = default;
};
/// The refusal that `write` makes known; nothing where the object is accepted, or was refused before for this reason.
std::optional<RefusalReason> new_refusal(const StatusWrite& write);

/// The statuses that were written lately. Between a write and its coming back through the watch, the informer still has
/// the old status.
class WrittenStatuses {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void note(const StatusWrite& write, Time now);
  /// The status of the object of this key and uid, of which the informer has `seen`.
  const boost::json::object& known(const std::string& key, const std::string& uid, const boost::json::object& seen,
                                   Time now);
  /// Forgets the objects that do not exist any more.
  void keep_only(const std::function<bool(const std::string& key)>& exists);

 private:
  struct Written {
    std::string uid;
    boost::json::object status;
    Time at;
  };
  std::map<std::string, Written> written_;
};

}  // namespace culvert::server
