// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <boost/asio/awaitable.hpp>

#include "common/admin/log.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/status_write.hpp"

namespace culvert::server {

/// The names of an object.
struct ObjectReference {
  std::string api_version;
  std::string kind;
  std::string name_space;  ///< Empty: the object belongs to the cluster as a whole.
  std::string name;
  std::string uid;
};

/// Writes the status of objects, and an Event where an object is refused. At home.
class StatusWriter {
 public:
  /// `client` and `log` outlive it.
  StatusWriter(ApiClient& client, Log& log) : client_(client), log_(log) {}

  /// Writes the status of the object at `path`. False: the API server has not taken it. A failure is logged, unless the
  /// object has changed or gone meanwhile.
  boost::asio::awaitable<bool> write(ObjectReference object, std::string path, StatusWrite write);
  /// Makes an Event of type Warning for the object. A failure is logged.
  boost::asio::awaitable<void> warn(ObjectReference object, RefusalReason refusal);

 private:
  ApiClient& client_;
  Log& log_;
};

}  // namespace culvert::server
