// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/secret_file.hpp"
#include "common/net/endpoint.hpp"
#include "server/targets/destination_text.hpp"
#include "server/targets/request_parameters.hpp"

namespace culvert::server {

enum class DestinationType : std::uint8_t { http, tcp, ldap, mail };
enum class DestinationProxy : std::uint8_t { internet, on_premise };

/// How the gateway logs in at the target. For tcp, ldap and mail always `none`: clients log in themselves.
enum class DestinationLogin : std::uint8_t {
  none,
  basic,                  ///< `user`, `password`
  client_certificate,     ///< `key_store`
  client_credentials,     ///< RFC 6749 4.4: `token_service`
  resource_owner,         ///< RFC 6749 4.3 (OAuth2Password): `token_service`, `user`, `password`
  jwt_bearer,             ///< RFC 7523, with the caller's token: `token_service`
  token_exchange,         ///< RFC 8693, with the caller's token: `token_service`
  principal_propagation,  ///< The caller's token goes to the agent.
};

/// A secret without bytes stands for a property that is missing.
inline Secret no_secret() {
  return Secret({});
}

/// A certificate and key that the definition only names.
struct DestinationKeyStore {
  std::string location;  ///< Empty: there is none.
  Secret password = no_secret();
};

struct DestinationTokenService {
  std::string url;  ///< parse_target_url() takes it once "{tenant}" is replaced.
  /// The URL serves several tenants: the caller's replaces "{tenant}", or is put in front of the host.
  bool is_common = false;
  std::string user;  ///< For "Authorization: Basic", in place of the client's. Empty: there is none.
  Secret password = no_secret();
  std::string client_id;
  Secret client_secret = no_secret();  ///< Empty if `key_store` is used instead.
  bool client_in_form = true;          ///< Whether the client's name and secret are in the body, not in a header.
  std::string scope;
  DestinationKeyStore key_store;  ///< For mutual TLS (RFC 8705).
};

/// What an exported destination says. Values that can be refused are valid: the gateway need not check them again.
struct DestinationDefinition {
  std::string name;  ///< 1 to 200 letters, digits, ".", "_" and "-", not beginning with ".".
  DestinationType type = DestinationType::http;
  DestinationProxy proxy = DestinationProxy::internet;
  DestinationLogin login = DestinationLogin::none;
  std::string url;   ///< parse_target_url() takes it; of http only.
  Endpoint address;  ///< Of the other types.
  std::string location_id;
  std::string user;
  Secret password = no_secret();
  DestinationTokenService token_service;
  DestinationKeyStore key_store;
  bool trust_all = false;
  RequestParameters parameters;  ///< URL.headers.*, URL.queries.* and sap-client.
  std::chrono::seconds connect_timeout{5};
  std::chrono::seconds read_timeout{30};
  DestinationProperties properties;  ///< All of them as they came, for the look-up.
  std::vector<std::string> notes;    ///< What was accepted and has no effect, one sentence each.
};

/// The values of a cluster's Secret, by key. Each is a definition; those whose keys end in ".pem" are certificates with
/// their private keys.
using DestinationTexts = std::map<std::string, Secret, std::less<>>;

/// Reads one destination as JSON or properties. Code "gateway.bad_destination": the text names the property and says
/// what to do, and shows no value.
Result<DestinationDefinition> read_destination(std::string_view text);

}  // namespace culvert::server
