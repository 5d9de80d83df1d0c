// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/http/fields.hpp"

// Logins that belong to a connection and not to a request: whoever uses the connection next is logged in (RFC 4559 6).

namespace culvert::http {

/// Whether a request logs in by such a scheme: its Authorization names NTLM, Negotiate or Kerberos.
bool has_connection_login(const Fields& request);
/// Whether a response asks for one: its WWW-Authenticate names such a scheme, possibly beside others.
bool asks_for_connection_login(const Fields& response);

}  // namespace culvert::http
