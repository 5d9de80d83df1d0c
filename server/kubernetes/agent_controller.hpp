// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/admin/log.hpp"
#include "common/config/secret_file.hpp"
#include "common/net/task_group.hpp"
#include "protocol/enrolment.hpp"
#include "server/kubernetes/agent_policy.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/cluster_agents.hpp"
#include "server/kubernetes/connected_agents.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/replicas.hpp"

namespace culvert::server {

/// What the configuration says of enrolment in a cluster.
struct ClusterEnrolment {
  /// The text of a join token: the line that an administrator carries to the agent.
  using TokenText =
      std::function<std::string(const AgentRecord& record, const std::string& id, const protocol::TokenSecret& secret)>;
  TokenText token_text;
  std::chrono::seconds join_token_lifetime{std::chrono::hours(1)};
  /// cert-manager's issuer; none: the server has a key of its own.
  std::optional<EnrolmentSettings::Issuer> issuer;
};

/// The cluster's Agents, for the holder of the Lease: makes join tokens, removes their Secrets, and writes each status.
/// AgentPolicy decides; ClusterAgents knows the objects; this class makes, removes and writes. At home; a part of the
/// Cluster, which it does not outlive.
///
/// It may create and delete Secrets, but neither read nor list nor change them: RBAC cannot restrict a right to names
/// that begin with "culvert-join-", so a right to read would be one to read every Secret of the namespace, among them
/// the authority's key. So the status says whether a Secret exists, and one that is to be replaced is deleted.
class AgentController {
 public:
  /// Everything outlives it.
  AgentController(ApiClient& client, Log& log, const KubernetesSettings& settings, ClusterEnrolment enrolment,
                  const Lease& lease, const Replicas& replicas, ClusterAgents& agents, ConnectedAgents::Ours ours);

  void start(TaskGroup& tasks);
  bool is_synced() const { return agents_.is_synced() && connected_.is_synced(); }

 private:
  /// A token whose secret exists nowhere but here.
  struct FreshToken {
    TokenNote note;
    Secret text;
  };
  FreshToken fresh_token(const AgentRecord& record) const;
  boost::asio::awaitable<void> keep();
  boost::asio::awaitable<void> keep_one(std::string key);
  boost::asio::awaitable<Result<bool>> make_token(std::string key, AgentWork work);
  boost::asio::awaitable<Result<void>> create_secret(const AgentObject& object, const FreshToken& token);
  boost::asio::awaitable<Result<void>> remove_secret(std::string name);
  boost::asio::awaitable<Result<bool>> write(StatusWrite write, std::string name);

  ApiClient& client_;
  Log& log_;
  const KubernetesSettings& settings_;
  const ClusterEnrolment enrolment_;
  const Lease& lease_;
  const Replicas& replicas_;
  ClusterAgents& agents_;
  ConnectedAgents connected_;
  AgentPolicy policy_;
};

}  // namespace culvert::server
