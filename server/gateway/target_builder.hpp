// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/config/secret_file.hpp"
#include "common/http/head_limits.hpp"
#include "common/net/address_rule.hpp"
#include "common/tls/tls_context.hpp"
#include "server/config/gateway_settings.hpp"
#include "server/gateway/external_target.hpp"
#include "server/gateway/outside_call.hpp"
#include "server/targets/target_description.hpp"

namespace culvert::server {

/// A target that was made, and its names.
struct BuiltTarget {
  std::string application;
  std::string service;
  std::string entry;
  std::string owner;
  std::shared_ptr<ExternalTarget> target;
};

/// Makes targets of one configuration. Those that log in alike share their grants, and connections with the same TLS
/// are shared. Makes TLS contexts, which read files: use it off the workers, on one thread.
class TargetBuilder {
 public:
  TargetBuilder(const GatewaySettings& settings, const http::HeadLimits& head_limits);

  /// Errors: "config.malformed" of a URL, "tls.*", "secret.*", "gateway.skip_verify_refused".
  Result<std::shared_ptr<ExternalTarget>> build(const TargetDescription& description);
  /// The same for a target that is there in any case: one that cannot be made has a problem.
  BuiltTarget build(const NamedTarget& named);

 private:
  struct NamedTls {
    TlsContext context;
    std::string name;  ///< A digest of what it was made of.
  };
  Result<std::shared_ptr<const ConnectProxy>> proxy_for(const std::string& host);
  Result<NamedTls> tls(const LoginTexts* shown, bool skip_verify);
  Result<std::shared_ptr<const TokenSource::Settings>> token_settings(const TargetDescription& description);
  Result<void> log_in(ExternalTarget& target, const TargetDescription& description);
  Result<OutsideServer> outside(const std::string& url, const LoginTexts* shown, bool skip_verify);

  const std::filesystem::path ca_;
  const bool allows_skip_verify_;
  const http::HeadLimits head_limits_;
  const std::shared_ptr<const AddressRule> addresses_;
  const std::optional<ProxySettings> proxy_settings_;
  std::shared_ptr<const ConnectProxy> proxy_;
  std::string rules_digest_;
  std::map<std::string, NamedTls> tls_;
  std::map<std::string, std::shared_ptr<GrantSource>> sources_;
};

}  // namespace culvert::server
