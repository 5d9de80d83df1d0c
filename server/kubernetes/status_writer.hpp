// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include "common/admin/log.hpp"
#include "server/kubernetes/api_client.hpp"

namespace culvert::server {

/// Which object is spoken of.
struct ObjectReference {
  std::string api_version;
  std::string kind;
  std::string name_space;  ///< "": of the cluster.
  std::string name;
  std::string uid;
  /// As key_of() makes it.
  std::string key() const { return name_space.empty() ? name : name_space + "/" + name; }
};

/// Writes the status of objects of one collection, each only when it is another one. Between a write and the news of it
/// the informer still has the old status: so what was written is remembered for a while. At home.
class StatusWriter {
 public:
  /// `client` and `log` outlive it.
  StatusWriter(ApiClient& client, Log& log) : client_(client), log_(log) {}

  /// What an object's status is: `seen` is what the informer has.
  boost::json::object known(const std::string& key, const boost::json::object& seen);
  /// Puts `status` in the place of `before`, if the object at `path` is still of that `version`. That an object is not
  /// accepted, which is news, is told by an Event, too.
  boost::asio::awaitable<void> write(ObjectReference about, std::string path, std::string version,
                                     boost::json::object before, boost::json::object status);
  /// Of objects that are gone nothing is remembered.
  void keep_only(const std::function<bool(const std::string& key)>& is_there);

 private:
  boost::asio::awaitable<void> warn(const ObjectReference& about, std::string reason, std::string message);
  struct Written {
    boost::json::object status;
    std::chrono::steady_clock::time_point at;
  };
  ApiClient& client_;
  Log& log_;
  std::map<std::string, Written> written_;
};

}  // namespace culvert::server
