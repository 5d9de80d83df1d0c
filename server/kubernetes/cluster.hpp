// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/object.hpp>

#include "common/admin/log.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"
#include "server/kubernetes/agent_controller.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/application_controller.hpp"
#include "server/kubernetes/certificate_requests.hpp"
#include "server/kubernetes/cluster_agents.hpp"
#include "server/kubernetes/cluster_state.hpp"
#include "server/kubernetes/destination_controller.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/on_premise_controller.hpp"
#include "server/kubernetes/replicas.hpp"
#include "server/kubernetes/service_mapping_controller.hpp"

namespace culvert::server {

/// What the configuration says of a cluster, with its certificates loaded.
struct ClusterPlan {
  KubernetesSettings settings;
  std::optional<OnPremiseSettings> on_premise;
  ApiAccess access;
  std::optional<ClusterEnrolment> enrolment = std::nullopt;
  std::optional<GatewaySettings> gateway = std::nullopt;  ///< With it, Applications are followed.
};
/// How `settings` lead to the API. Reads files, so it blocks. Errors: tls.*.
Result<ApiAccess> load_access(const KubernetesSettings& settings);

/// The cluster whose objects this server follows: the client of its API, the Lease that says which replica writes
/// there, and the controllers of each kind of object. While the API cannot be reached, what was known stays in force.
/// Lives at home. Life: start(), request_stop(), until is_over().
class Cluster {
 public:
  struct Hooks {
    std::function<std::vector<std::string>()> agents;  ///< This process's, sorted: "account/location".
    std::function<void(ClusterPart)> changed;          ///< This part of state() has changed; the numbers every second.
    std::function<std::vector<ConnectedAgent>()>
        connected;  ///< With enrolment: the agents with a tunnel in this process.
  };
  /// `known` is what an earlier Cluster has left: each part stays in force until this one has read it anew.
  Cluster(Worker& home, Log& log, ClusterPlan plan, ClusterState known, Hooks hooks);

  void start();
  /// This process is about to stop: gives up the Lease, so that another replica may write at once. Wait until
  /// has_left(), which takes 2 s at most.
  void leave();
  bool has_left() const;
  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

  /// A target of the gateway has answered 401: reads the Secrets of targets now, but at most once in 5 s.
  void look_at_secrets();

  /// Every collection that is followed has been listed once.
  bool is_synced() const;
  const ClusterState& state() const { return state_; }
  boost::json::object status() const;
  /// The cluster's Agents, and the issuer's signatures; nullptr: without enrolment, or the server has a key of its own.
  /// A request that has begun may outlive the Cluster.
  std::shared_ptr<AgentStore> agents() const { return agents_; }
  std::shared_ptr<Signer> signer() const { return signer_; }

 private:
  ApplicationRules application_rules(const GatewaySettings& gateway) const;
  void follow_destinations(Worker& home);
  void enrol(Worker& home, const ClusterEnrolment& enrolment);
  boost::asio::awaitable<void> discover();
  boost::asio::awaitable<void> count();

  Log& log_;
  const ClusterPlan plan_;
  const Hooks hooks_;
  ClusterState state_;
  const std::shared_ptr<ApiClient> shared_client_;  ///< Requests of agents may outlive this.
  ApiClient& client_;
  Lease lease_;
  Replicas replicas_;
  ServiceMappingController mappings_;
  std::optional<OnPremiseController> on_premise_;
  std::shared_ptr<ClusterAgents> agents_;
  std::shared_ptr<CertificateRequests> signer_;
  std::optional<AgentController> agent_controller_;
  std::optional<ApplicationController> applications_;
  std::optional<DestinationController> destinations_;
  std::optional<std::chrono::steady_clock::time_point> leave_until_;
  TaskGroup tasks_;
};

}  // namespace culvert::server
