// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "common/base/snapshot.hpp"
#include "common/ports/client_ports.hpp"
#include "common/program/program.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "common/upstream/target_check.hpp"
#include "server/agents/agent_acceptor.hpp"
#include "server/auth/password_checker.hpp"
#include "server/auth/token_check.hpp"
#include "server/config/config.hpp"
#include "server/enrolling.hpp"
#include "server/gateway/gateway.hpp"
#include "server/kubernetes/cluster.hpp"
#include "server/ports.hpp"

namespace culvert::server {

/// The server's configuration with its certificates loaded.
class ServerPlan final : public Plan {
 public:
  static Result<std::unique_ptr<Plan>> load(const ConfigSource& source);

  const ProgramSettings& settings() const override { return settings_; }

 private:
  friend class ServerService;
  Config config_;
  ProgramSettings settings_;
  std::shared_ptr<const TunnelPolicy> policy_;
  std::vector<TokenIssuer> issuers_;          ///< Issuers for the proxies.
  std::vector<TokenIssuer> gateway_issuers_;  ///< The same for the gateway.
  std::optional<ClusterPlan> cluster_;
  std::optional<EnrolmentPlan> enrolment_;
  std::optional<GatewayPlan> gateway_;
};

/// culvert-server: accepts agents on the tunnel listener, and workloads on client ports.
class ServerService final : public Service {
 public:
  ServerService(const ProgramContext& context, std::unique_ptr<Plan> plan);

  Result<void> start() override;
  Result<void> reload(std::unique_ptr<Plan> plan) override;
  void drain(std::chrono::steady_clock::time_point deadline, std::function<void()> done) override;
  void stop(std::function<void()> done) override;
  void status(std::function<void(boost::json::object)> done) override;
  void check_targets(std::function<void(boost::json::array)> done) override;
  void command(const std::string& name, const std::string& arguments,
               std::function<void(Result<std::string>)> done) override;
  Readiness readiness() override;
  void collect(MetricsPage& page) override;

 private:
  /// New objects of a configuration, made before any of it is applied.
  struct Staged {
    ClientPorts::Staged ports;
    Enrolling::Staged enrolling;
    std::shared_ptr<TokenCheck> tokens;
    std::shared_ptr<TokenCheck> gateway_tokens;
    std::shared_ptr<const HttpPortRules> http_rules;  ///< nullptr: there is no HTTP proxy.
    std::shared_ptr<const Socks5Rules> socks5_rules;  ///< nullptr: there is no SOCKS5 proxy.
    std::shared_ptr<const http::HeadLimits> head_limits;
  };
  Result<Staged> stage(const ServerPlan& plan);
  void commit(Staged staged);
  void keep_keys(std::shared_ptr<TokenCheck>& tokens, std::shared_ptr<TokenCheck> next);
  void close_ports();
  void follow_cluster();
  void enrol(Enrolling::Staged staged);
  ClusterEnrolment enrolment_in_cluster(const EnrolmentSettings& settings) const;
  std::vector<ConnectedAgent> connected_agents() const;
  const ClusterState& known_cluster() const;
  void publish_cluster(ClusterPart changed);
  void publish_mappings();
  void publish_replicas();
  void publish_ports();

  ProgramContext context_;
  std::unique_ptr<ServerPlan> plan_;
  TunnelDirectory directory_;
  AgentAcceptor agents_;
  Enrolling enrolling_;
  Gateway gateway_;
  PortContext port_context_;
  ClientPorts ports_;
  ClientPorts on_premise_ports_;  ///< Ports of the cluster's OnPremiseServices and Destinations.
  PasswordChecker passwords_;
  std::shared_ptr<TokenCheck> tokens_;          ///< Token check of the proxies.
  std::shared_ptr<TokenCheck> gateway_tokens_;  ///< That of the gateway.
  KeyFetcher key_fetcher_;
  TargetCheck target_check_;
  std::unique_ptr<Cluster> cluster_;
  std::vector<std::unique_ptr<Cluster>> retired_;  ///< Clusters of earlier configurations that are ending.
  Snapshot<ClusterNumbers> cluster_numbers_;
  using Certificates = std::vector<std::pair<std::string, std::chrono::sys_seconds>>;  ///< Their ends, for the metrics.
  Snapshot<Certificates> certificates_{std::make_shared<const Certificates>()};
  bool leaving_ = false;
  bool was_synced_ = false;  ///< An earlier Cluster was synced.
};

}  // namespace culvert::server
