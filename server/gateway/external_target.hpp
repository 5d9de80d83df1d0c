// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/base/permit.hpp"
#include "common/http/fields.hpp"
#include "common/upstream/back_end_exchange.hpp"
#include "server/config/route.hpp"
#include "server/gateway/grant.hpp"
#include "server/gateway/meter.hpp"
#include "server/gateway/token_source.hpp"
#include "server/targets/request_parameters.hpp"
#include "server/targets/target_url.hpp"

namespace culvert::server {

/// Where requests go, and how they log in there: what an API entry of an application and a destination have in common.
/// Immutable but for its grants and its meter; shared by its requests, on every worker.
struct ExternalTarget {
  std::string name;  ///< For the log and the metrics: "shop/orders/v1".
  TargetUrl url;
  std::optional<Route> route;  ///< Through an agent; nothing: from here.
  BackEndTarget back_end;      ///< Without a route.
  RequestParameters parameters;
  http::Fields login;                           ///< Fields that log in, such as Basic's Authorization.
  std::shared_ptr<GrantSource> token;           ///< Access tokens; nullptr: none is needed.
  std::shared_ptr<CallerTokens> caller_tokens;  ///< Access tokens made of the caller's; nullptr: none is needed.
  bool passes_caller = false;                   ///< The caller's token goes to the agent.
  std::shared_ptr<GrantSource> csrf;            ///< CSRF tokens for unsafe methods; nullptr: none is needed.
  std::string problem;                          ///< Why it cannot be used; empty: it can.
  LinkQuota quota;
  std::shared_ptr<Meter> meter;
};

}  // namespace culvert::server
