// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/array.hpp>

#include "common/admin/log.hpp"
#include "common/admin/metrics.hpp"
#include "common/net/offload.hpp"
#include "common/net/task_group.hpp"
#include "common/tunnel/data_planes.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "server/auth/password_checker.hpp"
#include "server/auth/token_check.hpp"
#include "server/gateway/gateway_context.hpp"
#include "server/gateway/gateway_plan.hpp"
#include "server/proxy/http_port.hpp"

namespace culvert::server {

/// The gateway to external systems: its ports' contexts, and the targets that requests there lead to. Lives at home.
/// Life: commit() ..., request_stop(), until is_over() on each worker.
class Gateway {
 public:
  /// The arguments must outlive it.
  Gateway(DataPlanes& planes, Log& log, const TunnelDirectory& directory);

  /// Contexts of its ports; each outlives the gateway's connections.
  const std::shared_ptr<HttpPortContext>& services() const { return services_; }
  const std::shared_ptr<HttpPortContext>& entries() const { return entries_; }
  const std::shared_ptr<HttpPortContext>& destinations() const { return destinations_; }
  const std::shared_ptr<HttpPortContext>& health() const { return health_; }

  /// The plan's targets apply from now on; nullptr: none does. `tokens` checks its callers' tokens; nullptr: they need
  /// none. `passwords` outlives it.
  void commit(const GatewayPlan* plan, std::shared_ptr<TokenCheck> tokens, PasswordChecker& passwords,
              const std::shared_ptr<const http::HeadLimits>& head_limits);

  /// `told` is called at home when a target has refused its login, since its secret may have changed. Call it before
  /// the ports open.
  void on_login_refused(std::function<void()> told) { context_->login_refused = std::move(told); }
  /// The targets of the cluster's objects, beside those of the plan. They apply once they are made; until the first are
  /// known (nullptr), nothing changes.
  void follow_cluster(std::shared_ptr<const std::vector<NamedTarget>> targets);

  /// The same for the definitions of a cluster's destinations; nullptr: there are none.
  void follow_cluster(std::shared_ptr<const DestinationTexts> definitions);
  /// The context of a port whose requests go to the destination `name`; "*": X-Destination-Name of each request names
  /// it.
  std::shared_ptr<HttpPortContext> port_of_destination(const std::string& name);

  /// The first targets of the cluster are being made: requests would not find them yet.
  bool is_beginning() const { return makings_ > 0 && !has_made_; }

  void request_stop();
  /// On the plane's worker.
  bool is_over(DataPlane& plane) const;

  boost::json::array status() const;
  void collect(MetricsPage& page) const;

 private:
  std::shared_ptr<HttpPortContext> make_port(const TunnelDirectory& directory, GatewayPort port);
  std::shared_ptr<Meter> meter_of(const std::string& name);
  void publish_table();
  void make_cluster_targets();
  boost::asio::awaitable<void> make(std::shared_ptr<const std::vector<NamedTarget>> targets,
                                    std::shared_ptr<const DestinationTexts> definitions, GatewaySettings settings,
                                    http::HeadLimits head_limits);
  /// What was made of the cluster's objects.
  struct ClusterTargets {
    std::vector<BuiltTarget> targets;
    LoadedDestinations destinations;
    bool is_empty() const { return targets.empty() && destinations.destinations.empty(); }
  };

  DataPlanes& planes_;
  const TunnelDirectory& directory_;
  const std::shared_ptr<GatewayContext> context_;
  const std::shared_ptr<HttpPortContext> services_;
  const std::shared_ptr<HttpPortContext> entries_;
  const std::shared_ptr<HttpPortContext> destinations_;
  const std::shared_ptr<HttpPortContext> health_;
  std::map<std::string, std::shared_ptr<HttpPortContext>> object_ports_;  ///< port_of_destination(), by name.
  const std::chrono::sys_seconds since_;
  std::vector<BuiltTarget> targets_;
  std::vector<Destination> known_destinations_;
  std::optional<GatewaySettings> settings_;  ///< Nothing: there is no gateway.
  http::HeadLimits head_limits_;
  std::shared_ptr<const std::vector<NamedTarget>> wanted_;  ///< Of the cluster.
  std::shared_ptr<const DestinationTexts> wanted_definitions_;
  ClusterTargets cluster_;
  std::uint64_t makings_ = 0;                             ///< Begun so far.
  bool has_made_ = false;                                 ///< One of them has ended.
  Offload offload_;                                       ///< Makes TLS contexts, which reads files.
  std::map<std::string, std::shared_ptr<Meter>> meters_;  ///< Kept over changes, by the targets' names.
  TaskGroup tasks_;
};

}  // namespace culvert::server
