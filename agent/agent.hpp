// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/config.hpp"
#include "agent/server_links.hpp"
#include "agent/system_mappings.hpp"
#include "common/program/program.hpp"
#include "common/tunnel/local_ports.hpp"
#include "common/tunnel/target_check.hpp"
#include "common/tunnel/tunnel_directory.hpp"

namespace culvert::agent {

/// The agent's configuration with its certificates loaded.
class AgentPlan final : public Plan {
 public:
  static Result<std::unique_ptr<Plan>> load(const ConfigSource& source);

  const ProgramSettings& settings() const override { return settings_; }

 private:
  friend class AgentService;
  Config config_;
  ProgramSettings settings_;
  std::vector<TlsContext> tls_;  ///< One per server of config_.
  std::shared_ptr<SystemMappings> mappings_;
};

/// culvert-agent: keeps its links, opens its channels, and leads what servers ask for to what its file exposes.
class AgentService final : public Service {
 public:
  AgentService(const Surroundings& around, std::unique_ptr<Plan> plan);
  ~AgentService() override;

  Result<void> start() override;
  Result<void> reload(std::unique_ptr<Plan> plan) override;
  void drain(std::chrono::steady_clock::time_point deadline, std::function<void()> done) override;
  void stop(std::function<void()> done) override;
  void status(std::function<void(boost::json::object)> done) override;
  void check_targets(std::function<void(boost::json::array)> done) override;
  Readiness readiness() override;
  void collect(MetricsPage& page) override;

 private:
  void take_links(const AgentPlan& plan);
  void retire(std::unique_ptr<ServerLinks> links);
  void check_loaded_targets();

  Surroundings around_;
  std::unique_ptr<AgentPlan> plan_;
  TunnelDirectory directory_;
  std::vector<std::unique_ptr<StreamAcceptor>> acceptors_;
  std::vector<std::unique_ptr<BackEndPool>> pools_;
  Snapshot<SystemMappings> mappings_;
  LinkSurroundings link_surroundings_;
  std::map<std::string, std::unique_ptr<ServerLinks>> links_;  ///< By the server's name.
  std::vector<std::unique_ptr<ServerLinks>> retired_;          ///< Their last tunnels are ending.
  struct CountedServer {
    std::string name;
    std::shared_ptr<const ReplicaCounts> replicas;
  };
  Snapshot<std::vector<CountedServer>> counted_{std::make_shared<const std::vector<CountedServer>>()};
  LocalPorts ports_;
  TargetCheck target_check_;
  std::map<std::string, Error> unreachable_;  ///< By the mapping's server and virtual address, when it was loaded.
};

}  // namespace culvert::agent
