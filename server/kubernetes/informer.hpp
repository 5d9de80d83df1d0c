// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include "common/admin/log.hpp"
#include "server/kubernetes/api_client.hpp"

namespace culvert::server {

/// Called by a Watch. An object's key is "namespace/name", or "name".
struct WatchEvents {
  std::function<void(const std::string& key, const boost::json::object& object)> is_there;
  std::function<void(const std::string& key)> is_gone;
  std::function<void()> synced;  ///< After every complete list: all of its objects have been reported.
};

/// Follows one collection by list and watch (Kubernetes API concepts, "Efficient detection of changes"). An error never
/// makes an object count as gone: only an event or a complete list does. At home, in a task of its owner.
class Watch {
 public:
  /// `client` and `log` outlive it.
  Watch(ApiClient& client, Log& log, WatchEvents events) : client_(client), log_(log), events_(std::move(events)) {}
  /// `path` is the collection's, "/apis/…", and may have a selector as its query. Ends only when it is stopped: throws
  /// operation_aborted.
  boost::asio::awaitable<void> run(std::string path);

 private:
  enum class After : std::uint8_t { watch, list };
  boost::asio::awaitable<Result<void>> list();
  boost::asio::awaitable<Result<After>> watch();
  Result<After> read_event(std::string_view line);
  boost::asio::awaitable<void> pause(bool failed);
  std::string with(std::string_view query) const;
  void log_failure(const Error& error);

  ApiClient& client_;
  Log& log_;
  std::string path_;
  const WatchEvents events_;
  std::set<std::string> known_;
  std::string version_;  ///< The resourceVersion up to which all changes are known.
  unsigned failures_ = 0;
  std::string last_code_;
};

/// A Watch that keeps the objects as values of `Object`, which `read` makes from JSON. Reports only changes of these
/// values.
template <typename Object>
class Informer {
 public:
  using Objects = std::map<std::string, Object>;

  /// `changed` is called after each change, from the first complete list on.
  Informer(ApiClient& client, Log& log, std::function<Object(const boost::json::object&)> read,
           std::function<void()> changed)
      : read_(std::move(read)),
        changed_(std::move(changed)),
        watch_(
            client, log,
            {.is_there = [this](const std::string& key, const boost::json::object& object) { put(key, read_(object)); },
             .is_gone =
                 [this](const std::string& key) {
                   if (objects_.erase(key) > 0 && synced_) changed_();
                 },
             .synced =
                 [this] {
                   if (!std::exchange(synced_, true)) changed_();
                 }}) {}

  /// As Watch::run().
  boost::asio::awaitable<void> run(std::string path) { return watch_.run(std::move(path)); }
  /// The first list is complete.
  bool is_synced() const { return synced_; }
  const Objects& objects() const { return objects_; }

 private:
  void put(const std::string& key, Object object) {
    const auto found = objects_.find(key);
    if (found != objects_.end() && found->second == object) return;
    objects_.insert_or_assign(key, std::move(object));
    if (synced_) changed_();
  }

  std::function<Object(const boost::json::object&)> read_;
  std::function<void()> changed_;
  Objects objects_;
  bool synced_ = false;
  Watch watch_;
};

}  // namespace culvert::server
