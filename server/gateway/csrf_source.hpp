// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "server/gateway/grant.hpp"
#include "server/gateway/outside_call.hpp"
#include "server/targets/request_parameters.hpp"

namespace culvert::server {

/// CSRF tokens of a target, with the cookies of the session that they belong to. One session for all who log in alike.
class CsrfSource final : public GrantSource {
 public:
  struct Settings {
    OutsideServer server;
    http::Fields login;                        ///< What logs in without a grant.
    std::shared_ptr<const GrantSource> token;  ///< nullptr: no access token is needed.
    RequestParameters parameters;
  };
  CsrfSource(std::string name, std::string key, Settings settings)
      : GrantSource(std::move(name), std::move(key)), settings_(std::move(settings)) {}

 private:
  boost::asio::awaitable<Result<Grant>> fetch(Dialer& dialer, Deadline deadline) override;

  const Settings settings_;
};

}  // namespace culvert::server
