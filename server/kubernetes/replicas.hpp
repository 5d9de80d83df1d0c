// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "common/admin/log.hpp"
#include "common/net/task_group.hpp"
#include "server/config/config.hpp"
#include "server/kubernetes/endpoint_slice.hpp"
#include "server/kubernetes/informer.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/replica.hpp"
#include "server/kubernetes/replica_table.hpp"

namespace culvert::server {

/// The server's replicas, and the agents that each of them holds. The EndpointSlices of the headless Service say which
/// replicas are ready. In the ConfigMap `culvert-agents` every replica keeps a key of its own name, with one line
/// "account/location" for each agent that it holds. Without a headless Service this process is the only replica. At
/// home.
class Replicas {
 public:
  struct Hooks {
    std::function<std::vector<std::string>()> agents;  ///< This process's, sorted: "account/location".
    std::function<void()> changed;                     ///< ready() has changed.
  };
  /// Everything outlives it.
  Replicas(ApiClient& client, Log& log, const KubernetesSettings& settings, const Lease& lease, Hooks hooks);

  /// `version` of discovery.k8s.io; not used without a headless Service.
  void start(TaskGroup& tasks, const std::string& version);
  bool is_synced() const { return settings_.replicas_service.empty() || (slices_.is_synced() && table_.is_synced()); }
  /// Sorted by name. This process is among them once the cluster says that it is ready.
  const std::vector<Replica>& ready() const { return ready_; }
  /// Whether this process, or any replica that is ready, holds such an agent.
  bool has_agent(const std::string& account, const std::string& location) const;

  /// The names of all replicas that exist, ready or not. Complete once is_synced().
  std::set<std::string> existing() const;

 private:
  void gather();
  void read_tables();
  boost::asio::awaitable<void> keep_table();

  const KubernetesSettings& settings_;
  const Lease& lease_;
  const Hooks hooks_;
  Informer<EndpointSlice> slices_;
  ReplicaTable table_;
  std::vector<Replica> ready_;
  std::vector<std::string> ours_;                           ///< Sorted.
  std::map<std::string, std::vector<std::string>> theirs_;  ///< Each replica's, sorted.
};

}  // namespace culvert::server
