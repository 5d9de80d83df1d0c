// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "common/base/snapshot.hpp"
#include "common/program/program.hpp"
#include "common/tunnel/local_ports.hpp"
#include "common/tunnel/target_check.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "server/agent_acceptor.hpp"
#include "server/config.hpp"
#include "server/http_proxy.hpp"
#include "server/kubernetes/cluster.hpp"
#include "server/on_premise_ports.hpp"
#include "server/socks5_proxy.hpp"

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
  std::vector<TokenIssuer> issuers_;  ///< Of the HTTP proxy.
  std::optional<ClusterPlan> cluster_;
};

/// culvert-server: agents come in by the tunnel listener, workloads by virtual listeners.
class ServerService final : public Service {
 public:
  ServerService(const Surroundings& around, std::unique_ptr<Plan> plan);

  Result<void> start() override;
  Result<void> reload(std::unique_ptr<Plan> plan) override;
  void drain(std::chrono::steady_clock::time_point deadline, std::function<void()> done) override;
  void stop(std::function<void()> done) override;
  void status(std::function<void(boost::json::object)> done) override;
  void check_targets(std::function<void(boost::json::array)> done) override;
  Readiness readiness() override;
  void collect(MetricsPage& page) override;

 private:
  /// What a configuration needs anew, opened before anything of it counts.
  struct Staged {
    LocalPorts::Staged ports;
    std::optional<HttpProxyRules> http_rules;
    std::unique_ptr<HttpProxy> http_proxy;
    std::optional<Socks5Rules> socks5_rules;
    std::unique_ptr<Socks5Proxy> socks5_proxy;
  };
  Result<Staged> stage(const ServerPlan& plan);
  void commit(Staged staged);
  void close_doors();
  void follow_cluster();
  void forget_cluster();
  void publish_policy();
  void publish_replicas();
  void publish_ports();

  Surroundings around_;
  std::unique_ptr<ServerPlan> plan_;
  TunnelDirectory directory_;
  AgentAcceptor agents_;
  LocalPorts ports_;
  std::unique_ptr<HttpProxy> http_proxy_;
  std::unique_ptr<Socks5Proxy> socks5_proxy_;
  std::shared_ptr<TokenCheck> tokens_;  ///< Of the proxies.
  KeyFetcher key_fetcher_;
  TargetCheck target_check_;
  std::unique_ptr<Cluster> cluster_;
  std::vector<std::unique_ptr<Cluster>> retired_;  ///< Of earlier configurations, ending.
  std::vector<ServiceMapping> cluster_mappings_;
  std::vector<OnPremisePort> cluster_ports_;
  std::vector<std::string> cluster_replicas_;
  OnPremisePorts on_premise_ports_;
  Snapshot<ClusterNumbers> cluster_numbers_;
  bool leaving_ = false;
  bool was_synced_ = false;  ///< With the cluster, by an earlier Cluster.
};

}  // namespace culvert::server
