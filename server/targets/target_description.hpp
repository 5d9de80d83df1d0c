// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "common/config/secret_file.hpp"
#include "server/targets/request_parameters.hpp"

// What the gateway knows of one target, whether a file, an Application or a destination says so.

namespace culvert::server {

/// How a target is logged in to. The types have the names of Kyma's Applications.
enum class LoginType : std::uint8_t {
  none,
  basic,                   ///< "Basic"
  oauth,                   ///< "OAuth": client credentials (RFC 6749 4.4)
  oauth_with_certificate,  ///< "OAuthWithCert": the same over mutual TLS (RFC 8705)
  certificate,             ///< "CertificateGen": a client certificate towards the target
  // Of destinations only:
  password,               ///< OAuth2Password (RFC 6749 4.3)
  jwt_bearer,             ///< OAuth2JWTBearer (RFC 7523), with the caller's token
  token_exchange,         ///< OAuth2TokenExchange (RFC 8693), with the caller's token
  principal_propagation,  ///< The caller's token goes to the agent.
};

/// What a target's login needs, as texts: from files, or from Secrets of a cluster.
struct LoginTexts {
  LoginType type = LoginType::none;
  std::string user;  ///< Or the client's id.
  Secret secret{{}};
  std::string owner;  ///< password: whose token it is.
  Secret owner_password{{}};
  std::string service_user;  ///< Shown to the token service in the client's place, as Basic; empty: the client is.
  Secret service_password{{}};
  std::string token_url;
  bool in_form = false;
  std::string scope;
  Secret certificate{{}};
  Secret private_key{{}};
  std::string certificate_name;  ///< For errors: its file, or Secret and key.
  std::string key_name;
};

/// One target, before it is made.
struct TargetDescription {
  std::string name;
  std::string url;
  std::string account;  ///< Not empty: through an agent of this account, with the virtual host of `url`.
  std::string location;
  LoginTexts login;
  std::string csrf_url;
  RequestParameters parameters;
  bool skip_verify = false;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds first_byte_timeout{120'000};
  std::chrono::milliseconds idle_timeout{300'000};
};

/// A target and its names at the gateway.
struct NamedTarget {
  std::string application;
  std::string service;  ///< Display name.
  std::string entry;    ///< The same.
  std::string owner;    ///< Tells apart services whose names become alike in a path.
  TargetDescription description;
  /// Why it cannot be used, such as a missing Secret; empty: it can. Then the description may be incomplete.
  std::string problem;
};

}  // namespace culvert::server
