// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/name_resolver.hpp"
#include "common/net/task_group.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/informer.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/service_endpoints.hpp"
#include "server/kubernetes/service_mapping_policy.hpp"
#include "server/kubernetes/status_writer.hpp"

namespace culvert::server {

/// The cluster's ServiceMappings: objects become entries of the table that the tunnels use, and their status reports
/// the outcome. Every replica follows them; the holder of the Lease writes. While the API cannot be reached, what was
/// known stays in force. ServiceMappingPolicy decides; this class watches, looks up, publishes and writes. At home; a
/// part of the Cluster, which it does not outlive.
class ServiceMappingController {
 public:
  struct Hooks {
    std::function<void(std::vector<ServiceMapping>)> publish;  ///< The table is another one than before.
    ServiceMappingPolicy::HasAgent has_agent;                  ///< Whether one is connected.
  };
  ServiceMappingController(const boost::asio::any_io_executor& executor, ApiClient& client, Log& log,
                           const KubernetesSettings& settings, const Lease& lease, Hooks hooks);

  void start(TaskGroup& tasks);
  /// From then on targets come from EndpointSlices, where the settings say so. `version` of discovery.k8s.io.
  void follow_endpoints(TaskGroup& tasks, const std::string& version);
  /// The objects, and the EndpointSlices where they are followed, have come once.
  bool is_synced() const { return mappings_.is_synced() && (!settings_.endpoint_slices || endpoints_.is_synced()); }
  std::size_t objects() const { return mappings_.objects().size(); }

 private:
  boost::asio::awaitable<void> keep_table();
  boost::asio::awaitable<void> keep_targets();
  boost::asio::awaitable<void> look_up_all();
  boost::asio::awaitable<MappingTarget> look_up(InternalAddress address);
  boost::asio::awaitable<MappingTarget> look_up_by_name(InternalAddress address);
  boost::asio::awaitable<Result<std::uint16_t>> look_up_port(InternalAddress address);
  boost::asio::awaitable<void> keep_status();
  void publish();
  void note_change();
  void note_endpoints(const std::string& service);

  ApiClient& client_;
  Log& log_;
  const KubernetesSettings& settings_;
  const Lease& lease_;
  const Hooks hooks_;
  NameResolver resolver_;
  StatusWriter writer_;
  ServiceMappingPolicy policy_;
  Informer<ServiceMappingObject> mappings_;
  ServiceEndpoints endpoints_;
  bool has_changed_ = false;
  Event changed_;
};

}  // namespace culvert::server
