// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/task_group.hpp"
#include "server/enrolment/agent_store.hpp"
#include "server/kubernetes/agent_object.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/informer.hpp"

namespace culvert::server {

/// The cluster's Agents as every replica knows them, and the store that enrolment asks. A token's hash is in the status
/// of its object, so that any replica can check it; a write with the object's resourceVersion as precondition uses it
/// up, so that of all replicas exactly one succeeds.
///
/// At home. The Cluster runs it; a request that has begun may outlive the Cluster, and ends properly.
class ClusterAgents final : public AgentStore {
 public:
  /// `known` is what an earlier one has left, or nullptr. `changed` is called when agents() has changed. `log` outlives
  /// it.
  ClusterAgents(const boost::asio::any_io_executor& executor, std::shared_ptr<ApiClient> client, Log& log,
                std::string name_space, std::shared_ptr<const EnrolledAgents> known, std::function<void()> changed);

  void start(TaskGroup& tasks);
  /// The objects have come once, and agents() says so.
  bool is_synced() const { return is_planned_; }
  /// As the informer has them now.
  const AgentObjects& objects() const { return informer_.objects(); }
  /// As of the last plan.
  const PlannedAgents& planned() const { return planned_; }
  /// "/apis/culvert.dev/…/agents/NAME"
  std::string path_of(const std::string& name) const;

  boost::asio::awaitable<Granted<AgentRecord>> check(TokenClaim claim) override;
  boost::asio::awaitable<Granted<void>> take(TokenClaim claim, AgentRecord record, CertificateNote note) override;
  boost::asio::awaitable<Granted<AgentRecord>> find(AgentIdentity identity) override;
  boost::asio::awaitable<void> note_renewal(AgentRecord record, CertificateNote note) override;
  std::shared_ptr<const EnrolledAgents> agents() const override { return agents_; }

 private:
  /// The next status of an object, or the answer to the agent.
  using Change = std::function<Granted<boost::json::object>(const AgentObject& object, const PlannedAgent& planned)>;
  boost::asio::awaitable<void> keep();
  void plan();
  Granted<AgentRecord> look_up(const TokenClaim& claim) const;
  boost::asio::awaitable<Granted<void>> update(std::string name, Change change);
  boost::asio::awaitable<Granted<AgentObject>> get(std::string name);
  PlannedAgent planned_now(const AgentObject& object) const;

  const std::shared_ptr<ApiClient> client_;
  Log& log_;
  const std::string name_space_;
  const std::string collection_;
  const std::function<void()> hook_;
  Informer<AgentObject> informer_;
  PlannedAgents planned_;
  std::map<std::string, std::string, std::less<>> by_identity_;  ///< Keys of the objects that count.
  std::shared_ptr<const EnrolledAgents> agents_;
  bool is_planned_ = false;
  bool has_changed_ = false;
  Event changed_;
};

}  // namespace culvert::server
