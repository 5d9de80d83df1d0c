// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include "common/admin/log.hpp"
#include "server/config/config.hpp"
#include "server/kubernetes/informer.hpp"

namespace culvert::server {

/// A ConfigMap in which every replica keeps a text under a key of its own name, for the others to read. At home.
class ReplicaTable {
 public:
  using Texts = std::map<std::string, std::string>;  ///< By the replica's name.

  /// `changed` is called after each change. Everything outlives it.
  ReplicaTable(ApiClient& client, Log& log, const KubernetesSettings& settings, std::string config_map,
               std::function<void()> changed);

  /// As Watch::run().
  boost::asio::awaitable<void> run();
  bool is_synced() const { return texts_.is_synced(); }
  const Texts& texts() const;

  /// Writes our text, unless the ConfigMap has it already or it was written a moment ago.
  boost::asio::awaitable<void> publish(std::string mine);
  /// Removes the texts of replicas that are not in `there` any more, after a while.
  boost::asio::awaitable<void> clean_up(std::set<std::string> there);

 private:
  boost::asio::awaitable<Result<void>> patch(boost::json::object data);

  ApiClient& client_;
  Log& log_;
  const KubernetesSettings& settings_;
  const std::string config_map_;
  const std::string collection_;
  Informer<Texts> texts_;
  std::string written_;
  std::chrono::steady_clock::time_point written_at_;
  std::map<std::string, std::chrono::steady_clock::time_point> missing_since_;
};

/// The lines of a text, sorted.
std::vector<std::string> lines_of(std::string_view text);

}  // namespace culvert::server
