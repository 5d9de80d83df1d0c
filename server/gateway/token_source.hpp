// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/guarded.hpp"
#include "common/config/secret_file.hpp"
#include "common/tls/digest.hpp"
#include "server/gateway/grant.hpp"
#include "server/gateway/outside_call.hpp"
#include "server/targets/target_description.hpp"

namespace culvert::server {

/// Access tokens of a token service, by client credentials or another grant; with a certificate in the service's `tls`
/// also by mutual TLS (RFC 8705).
class TokenSource final : public GrantSource {
 public:
  struct Settings {
    OutsideServer service;
    LoginType grant = LoginType::oauth;
    std::string owner;
    Secret owner_password{{}};
    std::string service_user;
    Secret service_password{{}};
    std::string client_id;
    Secret client_secret;  ///< Without bytes: the certificate is enough.
    bool in_form = false;  ///< The client's name and secret are in the form, not in a field.
    std::string scope;
    RequestParameters parameters;  ///< Added to the request for a token.
  };
  /// `caller` is the caller's token, for grants that are made of it.
  TokenSource(std::string name, std::string key, std::shared_ptr<const Settings> settings, Secret caller = Secret({}))
      : GrantSource(std::move(name), std::move(key)), settings_(std::move(settings)), caller_(std::move(caller)) {}

 private:
  boost::asio::awaitable<Result<Grant>> fetch(Dialer& dialer, Deadline deadline) override;

  const std::shared_ptr<const Settings> settings_;
  const Secret caller_;
};

/// Access tokens that are made of callers' tokens, one for each caller. From any thread.
class CallerTokens {
 public:
  CallerTokens(std::string name, std::string key, std::shared_ptr<const TokenSource::Settings> settings)
      : name_(std::move(name)), key_(std::move(key)), settings_(std::move(settings)) {}

  std::shared_ptr<GrantSource> of(std::string_view caller);

  static constexpr std::size_t callers_max = 10'000;

 private:
  const std::string name_;
  const std::string key_;
  const std::shared_ptr<const TokenSource::Settings> settings_;
  Guarded<std::map<Sha256, std::shared_ptr<GrantSource>>> sources_;
};

}  // namespace culvert::server
