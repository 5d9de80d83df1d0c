// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/base/error.hpp"
#include "common/tls/tls_context.hpp"
#include "tests/testing/certificates.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace culvert::testing {

using RawContext = std::shared_ptr<ssl_ctx_st>;

/// A peer that keeps no rules: security level 0, any version, no verification, ALPN culvert/1 where it dials. Tests
/// spoil it further.
RawContext careless_server(const Credential& own);
RawContext careless_client(const Credential& own);
RawContext careless_client();  ///< Without a certificate.
UniqueSsl accepting(const RawContext& context);
UniqueSsl dialling(const RawContext& context);

/// How a handshake ended on each side. TLS 1.3 lets the client finish first and hear of a refusal by reading, so each
/// side reads once.
struct Outcome {
  std::optional<Error> client;
  std::optional<Error> server;
  std::string client_code() const { return client ? client->code : "ok"; }
  std::string server_code() const { return server ? server->code : "ok"; }
};

/// Joins the two in memory and lets them talk until both are done or one has failed and the other has heard.
Outcome shake_hands(ssl_st* client, ssl_st* server);

/// Lets one side hear `bytes` from a peer that then closes; what TLS makes of that.
std::optional<Error> hear(ssl_st* ssl, const std::string& bytes);

}  // namespace culvert::testing
