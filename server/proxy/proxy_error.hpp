// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/http/head.hpp"
#include "common/http/refusal.hpp"
#include "protocol/messages.hpp"
#include "server/auth/token.hpp"

// Responses for errors of the proxy. Each says what happened, on which hop, and what to do: in Proxy-Status (RFC 9209)
// and in a body application/problem+json (RFC 9457) with a stable code of docs/errors.md. They contain neither internal
// host names nor bytes that the client sent.

namespace culvert::server {

struct ProxyError {
  int status = 502;
  std::string_view code;    ///< "request.no_agent"
  std::string_view type;    ///< Type of RFC 9209 2.3: "destination_unavailable"
  std::string_view text;    ///< What happened.
  std::string_view hint;    ///< What to do.
  std::string challenge;    ///< 407: the value of Proxy-Authenticate; 401: that of WWW-Authenticate.
  bool from_agent = false;  ///< The hop is the agent, not this server.
  // NOLINTNEXTLINE(readability-redundant-member-init): most errors have none, and need not say so.
  std::string detail = {};  ///< More about what happened.
};

/// Returns the error for a refusal of the agent, or for the end of its stream.
ProxyError error_of(protocol::Reason reason);
/// Returns the error for a token that is not accepted: 407, with the failed check in Proxy-Authenticate (RFC 6750 3).
ProxyError error_of(const TokenRefusal& refusal);
/// Returns the error for a malformed message of the client or the agent.
ProxyError error_of(const http::Refusal& refusal);

/// The form of the body.
enum class ErrorFormat : std::uint8_t {
  problem,  ///< application/problem+json
  gateway,  ///< application/json with "code" and "error", as clients of the application gateway know it.
};

/// Returns the whole response; `with_body` is false for HEAD. The connection closes after it unless `keep`.
std::string write_error(const ProxyError& error, ErrorFormat format, std::string_view request_id, bool with_body,
                        bool keep);

/// Returns 16 random hexadecimal digits, so that ids of all processes differ most likely.
std::string next_request_id();

}  // namespace culvert::server
