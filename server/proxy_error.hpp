// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/http/head.hpp"
#include "common/http/refusal.hpp"
#include "protocol/messages.hpp"
#include "server/token.hpp"

// Every error that the proxy makes itself says what happened, on which hop, and what to do: Proxy-Status (RFC 9209),
// and a body application/problem+json (RFC 9457) with a stable code of docs/errors.md. No internal host name, nothing
// of what the client sent.

namespace culvert::server {

struct ProxyError {
  int status = 502;
  std::string_view code;    ///< "request.no_agent"
  std::string_view type;    ///< Of RFC 9209 2.3: "destination_unavailable"
  std::string_view text;    ///< What happened.
  std::string_view hint;    ///< What to do.
  std::string challenge;    ///< 407: the value of Proxy-Authenticate.
  bool agent_said = false;  ///< The hop: the agent, not this server.
};

/// What the agent's refusal, or the end of its stream, means to the client.
ProxyError error_of(protocol::Reason reason);
/// A token that is not taken: 407, with the failed check in Proxy-Authenticate (RFC 6750 3).
ProxyError error_of(const TokenRefusal& refusal);
/// A message that was not understood; of the client, or what came from the agent.
ProxyError error_of(const http::Refusal& refusal);

/// The whole response; `with_body` false for HEAD. The connection closes behind it unless `keep`.
std::string write_error(const ProxyError& error, std::string_view request_id, bool with_body, bool keep);

/// 16 hexadecimal digits, different for each request of the process, and most likely of all processes.
std::string next_request_id();

}  // namespace culvert::server
