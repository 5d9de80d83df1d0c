// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/task_group.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/cluster_secrets.hpp"
#include "server/kubernetes/destination_object.hpp"
#include "server/kubernetes/informer.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/replicas.hpp"
#include "server/kubernetes/service_policy.hpp"
#include "server/kubernetes/service_writer.hpp"
#include "server/kubernetes/status_writer.hpp"

namespace culvert::server {

/// The cluster's Destinations: every replica reads the Secret with their definitions and listens at the port that an
/// object's status has; the holder of the Lease keeps a Service and an EndpointSlice for each object, and writes its
/// status. ServicePolicy and ClusterSecrets decide; this class watches, reads, publishes and writes. At home; a part of
/// the Cluster, which it does not outlive.
class DestinationController {
 public:
  struct Hooks {
    std::function<void(std::vector<OnPremisePort>)> ports;  ///< Other ports than before.
    std::function<void(std::shared_ptr<const DestinationTexts>)>
        definitions;  ///< The Secret has other values than before.
  };

  /// Everything outlives it. `gateway` has destination_ports.
  DestinationController(const boost::asio::any_io_executor& executor, ApiClient& client, Log& log,
                        const GatewaySettings& gateway, std::string name_space, const Lease& lease,
                        const Replicas& replicas, Hooks hooks);

  /// `version` of discovery.k8s.io.
  void start(TaskGroup& tasks, const std::string& version);
  bool is_synced() const;
  std::size_t objects() const { return policy_.objects(); }
  /// A target has refused its login: reads the Secret now, but at most once in 5 s.
  void look_at_secrets();

 private:
  boost::asio::awaitable<void> keep_secret();
  boost::asio::awaitable<void> read_secret();
  void take_secret();
  boost::asio::awaitable<void> keep_ports();
  boost::asio::awaitable<void> keep_services();
  boost::asio::awaitable<void> keep(std::string key);
  void note_change();

  ApiClient& client_;
  Log& log_;
  const std::string name_space_;  ///< The server's own.
  const Lease& lease_;
  const Replicas& replicas_;
  const Hooks hooks_;
  StatusWriter writer_;
  ServiceWriter services_;
  DestinationDefinitions definitions_;
  ServicePolicy<DestinationObject> policy_;
  Informer<DestinationObject> informer_;
  ClusterSecrets secrets_;
  boost::asio::steady_timer secret_wait_;
  bool has_definitions_ = false;  ///< The API server has answered about the Secret.
  bool has_changed_ = false;
  Event changed_;
};

}  // namespace culvert::server
