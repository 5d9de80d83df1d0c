// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/config/config.hpp"
#include "agent/identity/identity_keeper.hpp"
#include "agent/links/server_links.hpp"
#include "agent/mappings/system_mappings.hpp"
#include "common/ports/client_ports.hpp"
#include "common/program/program.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "common/upstream/target_check.hpp"

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
  /// One per server of config_; none while its identity is missing, or its certificate has ended.
  std::vector<std::optional<TlsContext>> tls_;
  std::shared_ptr<SystemMappings> mappings_;
};

/// culvert-agent: keeps its links, opens its channels, and connects streams of servers to the targets that its file
/// exposes.
class AgentService final : public Service {
 public:
  AgentService(const ProgramContext& context, std::unique_ptr<Plan> plan);
  ~AgentService() override;

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
  void apply_links(AgentPlan& plan);
  void keep_identities(const AgentPlan& plan);
  std::unique_ptr<IdentityKeeper> make_keeper(const Server& server, const std::optional<TlsContext>& tls);
  bool identities_over() const;
  void adopt(const std::string& server, const TlsContext& tls);
  void retire(std::unique_ptr<ServerLinks> links);
  void warn_of_weak_tls();
  void check_loaded_targets();

  ProgramContext context_;
  std::unique_ptr<AgentPlan> plan_;
  TunnelDirectory directory_;
  std::vector<WorkerTools> tools_;  ///< One per worker.
  Snapshot<SystemMappings> mappings_;
  Offload offload_;  ///< Reads files for the links.
  LinkContext link_context_;
  std::map<std::string, std::unique_ptr<ServerLinks>> links_;       ///< Keyed by name of the server.
  std::vector<std::unique_ptr<ServerLinks>> retired_;               ///< Links whose last tunnels are ending.
  std::map<std::string, std::unique_ptr<IdentityKeeper>> keepers_;  ///< Keyed like links_.
  std::vector<std::unique_ptr<IdentityKeeper>> retired_keepers_;
  /// The certificates that keepers got, which a plan that was read at the same time may not have.
  std::map<std::string, TlsContext> adopted_;
  struct CountedServer {
    std::string name;
    std::shared_ptr<const ReplicaCounts> replicas;
    std::chrono::sys_seconds certificate_ends;
  };
  Snapshot<std::vector<CountedServer>> counted_{std::make_shared<const std::vector<CountedServer>>()};
  ClientPorts ports_;
  TargetCheck target_check_;
  /// Results of the check at load, keyed by the mapping's server and virtual address.
  std::map<std::string, Error> unreachable_;
};

}  // namespace culvert::agent
