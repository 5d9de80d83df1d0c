// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/config/config.hpp"
#include "server/gateway/destinations.hpp"
#include "server/gateway/target_builder.hpp"

namespace culvert::server {

/// [gateway] with its files loaded.
struct GatewayPlan {
  GatewaySettings settings;
  http::HeadLimits head_limits;  ///< For answers of targets.
  std::vector<BuiltTarget> targets;
  LoadedDestinations destinations;

  /// Blocks. Codes: "tls.*", "secret.*", "gateway.bad_parameters", "gateway.ambiguous_service",
  /// "gateway.ambiguous_entry".
  static Result<GatewayPlan> load(const GatewaySettings& settings, const http::HeadLimits& head_limits);
};

}  // namespace culvert::server
