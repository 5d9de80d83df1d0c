// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/task_group.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/informer.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/on_premise_policy.hpp"
#include "server/kubernetes/replicas.hpp"
#include "server/kubernetes/service_writer.hpp"
#include "server/kubernetes/status_writer.hpp"

namespace culvert::server {

/// The cluster's OnPremiseServices: every replica listens at the port that an object's status has; the holder of the
/// Lease gives out the ports, keeps a Service and an EndpointSlice for each object, and writes its status. Kubernetes
/// deletes both with the object, which owns them. OnPremisePolicy decides; this class watches, publishes and writes. At
/// home; a part of the Cluster, which it does not outlive.
class OnPremiseController {
 public:
  using Publish = std::function<void(std::vector<OnPremisePort>)>;  ///< Other ports than before.

  /// Everything outlives it.
  OnPremiseController(const boost::asio::any_io_executor& executor, ApiClient& client, Log& log,
                      const OnPremiseSettings& settings, const KubernetesSettings& kubernetes, const Lease& lease,
                      const Replicas& replicas, Publish publish);

  /// `version` of discovery.k8s.io.
  void start(TaskGroup& tasks, const std::string& version);
  bool is_synced() const;
  std::size_t objects() const { return policy_.objects(); }

 private:
  boost::asio::awaitable<void> keep_ports();
  boost::asio::awaitable<void> keep_services();
  boost::asio::awaitable<void> keep(std::string key);
  OnPremisePolicy::Objects gather() const;

  Log& log_;
  const std::vector<std::string> namespaces_;  ///< Empty: all.
  const Lease& lease_;
  const Replicas& replicas_;
  const Publish publish_;
  StatusWriter writer_;
  ServiceWriter services_;
  OnPremisePolicy policy_;
  std::vector<std::unique_ptr<Informer<OnPremiseObject>>> informers_;  ///< One, or one per namespace.
  bool has_changed_ = false;
  Event changed_;
};

}  // namespace culvert::server
