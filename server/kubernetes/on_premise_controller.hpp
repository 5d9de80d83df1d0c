// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/task_group.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/informer.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/on_premise_object.hpp"
#include "server/kubernetes/replicas.hpp"
#include "server/kubernetes/status_writer.hpp"

namespace culvert::server {

/// The cluster's OnPremiseServices: every replica listens at the port that an object's status has; who holds the Lease
/// gives out the ports, keeps a Service and an EndpointSlice for each object, and writes its status. An object that
/// goes takes both along by its ownership. At home; a part of the Cluster, which it does not outlive.
class OnPremiseController {
 public:
  using Publish = std::function<void(std::vector<OnPremisePort>)>;  ///< Other ports than before.

  /// Everything outlives it.
  OnPremiseController(const boost::asio::any_io_executor& executor, ApiClient& client, Log& log,
                      OnPremiseSettings settings, const KubernetesSettings& kubernetes, const Lease& lease,
                      const Replicas& replicas, Publish publish);

  /// `version` of discovery.k8s.io.
  void start(TaskGroup& tasks, const std::string& version);
  bool is_synced() const;
  std::size_t objects() const;

 private:
  using Clock = std::chrono::steady_clock;
  /// How an object was last left, and when it is worth a look again.
  struct Left {
    PlannedService planned;
    std::vector<Replicas::Replica> replicas;
    std::int64_t generation = 0;
    PublishedFacts facts;
    Clock::time_point again;
  };
  boost::asio::awaitable<void> keep_ports();
  boost::asio::awaitable<void> keep_services();
  boost::asio::awaitable<void> keep(std::string key);
  boost::asio::awaitable<PublishedFacts> publish_service(OnPremiseObject object, PlannedService planned);
  boost::asio::awaitable<Result<void>> put(std::string collection, boost::json::object wanted, OnPremiseObject owner);
  boost::asio::awaitable<void> withdraw(std::string collection, OnPremiseObject object);
  void gather();
  std::string path(const OnPremiseObject& object) const;

  ApiClient& client_;
  Log& log_;
  const OnPremiseSettings settings_;
  const KubernetesSettings& kubernetes_;
  const Lease& lease_;
  const Replicas& replicas_;
  const Publish publish_;
  StatusWriter writer_;
  std::vector<std::unique_ptr<Informer<OnPremiseObject>>> informers_;  ///< One, or one per namespace.
  std::map<std::string, OnPremiseObject> objects_;
  std::map<std::string, PlannedService> planned_;
  std::map<std::string, Left> left_;
  std::optional<std::vector<OnPremisePort>> published_;
  std::uint16_t last_port_ = 0;  ///< That was given out.
  std::string version_;
  bool has_changed_ = false;
  Event changed_;
};

}  // namespace culvert::server
