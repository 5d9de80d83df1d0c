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

  void request_stop();
  /// On the plane's worker.
  bool is_over(DataPlane& plane) const;

  boost::json::array status() const;
  void collect(MetricsPage& page) const;

 private:
  std::shared_ptr<HttpPortContext> make_port(const TunnelDirectory& directory, GatewayPort port);
  std::shared_ptr<Meter> meter_of(const std::string& name);
  void publish_table();

  DataPlanes& planes_;
  const std::shared_ptr<GatewayContext> context_;
  const std::shared_ptr<HttpPortContext> services_;
  const std::shared_ptr<HttpPortContext> entries_;
  const std::shared_ptr<HttpPortContext> destinations_;
  const std::shared_ptr<HttpPortContext> health_;
  const std::chrono::sys_seconds since_;
  std::vector<BuiltTarget> targets_;
  std::vector<Destination> known_destinations_;
  bool compatible_errors_ = false;
  std::map<std::string, std::shared_ptr<Meter>> meters_;  ///< Kept over changes, by the targets' names.
};

}  // namespace culvert::server
