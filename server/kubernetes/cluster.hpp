// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/object.hpp>

#include "common/admin/log.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/on_premise_controller.hpp"
#include "server/kubernetes/replicas.hpp"
#include "server/kubernetes/service_mapping_controller.hpp"

namespace culvert::server {

/// What the file says of a cluster, and how to get there.
struct ClusterPlan {
  KubernetesSettings settings;
  std::optional<OnPremiseSettings> on_premise;
  ApiAccess access;
};
/// How `settings` lead to the API. Reads files, so it blocks. Errors: tls.*.
Result<ApiAccess> load_access(const KubernetesSettings& settings);

/// A cluster in numbers, for metrics.
struct ClusterNumbers {
  bool is_synced = false;
  bool is_writer = false;
  std::size_t replicas = 0;
  std::size_t service_mappings = 0;
  std::size_t on_premise_services = 0;
  ApiClient::Counts requests;
};

/// The cluster that this server obeys: who asks its API, who may write there, and who follows which objects. While the
/// API is away, what was known stays in force. Lives at home. Life: start(), request_stop(), until is_over().
class Cluster {
 public:
  struct Hooks {
    std::function<void(std::vector<ServiceMapping>)> publish_mappings;
    std::function<void(std::vector<OnPremisePort>)> publish_ports;
    std::function<void(std::vector<std::string>)> publish_replicas;  ///< The names of those that are ready.
    std::function<std::vector<std::string>()> agents;                ///< Of this process, sorted: "account/location".
    std::function<void(const ClusterNumbers&)> publish_numbers;      ///< Every second.
  };
  Cluster(Worker& home, Log& log, ClusterPlan plan, Hooks hooks);

  void start();
  /// We are about to stop: another replica may write from now on. Wait until has_left(), which takes 2 s at most.
  void leave();
  bool has_left() const { return has_left_; }
  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

  /// All that was asked for has come once.
  bool is_synced() const;
  boost::json::object status() const;

 private:
  boost::asio::awaitable<void> discover();
  boost::asio::awaitable<void> count();
  boost::asio::awaitable<void> release();

  Log& log_;
  const ClusterPlan plan_;
  const Hooks hooks_;
  ApiClient client_;
  Lease lease_;
  Replicas replicas_;
  ServiceMappingController mappings_;
  std::optional<OnPremiseController> on_premise_;
  bool has_left_ = false;
  TaskGroup tasks_;
};

}  // namespace culvert::server
