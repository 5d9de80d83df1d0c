// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/admin/log.hpp"
#include "common/base/snapshot.hpp"
#include "common/tunnel/data_planes.hpp"
#include "common/upstream/back_end.hpp"
#include "common/upstream/target_dialer.hpp"
#include "server/gateway/gateway_table.hpp"
#include "server/gateway/grant.hpp"

namespace culvert::server {

/// What a configuration says of all targets. Immutable.
struct GatewayRules {
  GatewayTable table;
  bool compatible_errors = false;
  bool answers_look_ups = false;  ///< Only to callers with a token, since secrets are in the answers.
};

/// Shared by all exchanges of the gateway, on every worker.
struct GatewayContext {
  GatewayContext(DataPlanes& planes, Log& program_log);

  /// The part of one worker.
  struct Local {
    std::unique_ptr<TargetDialer> dialer;
    std::shared_ptr<BackEndPool> pool;
  };
  BackEndContext back_ends_of(const Worker& worker) {
    const Local& local = locals[worker.index()];
    return {*local.dialer, local.pool, log};
  }

  Log& log;
  Worker& home;
  /// Called at home when a target has refused its login; empty: nobody wants to know. Set before the ports open.
  std::function<void()> login_refused;
  std::vector<Local> locals;
  GrantKeeper keeper;
  Snapshot<GatewayRules> rules{std::make_shared<const GatewayRules>()};
};

}  // namespace culvert::server
