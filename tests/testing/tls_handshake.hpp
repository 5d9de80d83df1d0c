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

/// A peer without rules: security level 0, any version, no verification, ALPN culvert/1 when it dials. Tests break it
/// further.
RawContext careless_server(const Credential& own);
RawContext careless_client(const Credential& own);
RawContext careless_client();  ///< Without a certificate.
UniqueSsl accepting(const RawContext& context);
UniqueSsl dialling(const RawContext& context);

/// How a handshake ended on each side. In TLS 1.3 the client finishes first and gets a refusal only when it reads, so
/// each side reads once.
struct Outcome {
  std::optional<Error> client;
  std::optional<Error> server;
  std::string client_code() const { return client ? client->code : "ok"; }
  std::string server_code() const { return server ? server->code : "ok"; }
};

/// Connects the two in memory and runs them until both are done, or one has failed and the other has received that.
Outcome shake_hands(ssl_st* client, ssl_st* server);

/// Sends `bytes` to one side from a peer that then closes. Returns TLS's result.
std::optional<Error> receive(ssl_st* ssl, const std::string& bytes);

}  // namespace culvert::testing
