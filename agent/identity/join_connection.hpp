// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "agent/config/config.hpp"
#include "common/base/error.hpp"
#include "common/net/offload.hpp"
#include "common/tls/tls_context.hpp"
#include "protocol/enrolment.hpp"

struct ssl_st;

namespace culvert::agent {

/// Makes the one frame that a join connection carries to the server, once it is known to be the right one: a late
/// renewal is bound to the connection.
using JoinRequest = std::function<Result<std::vector<std::byte>>(const ssl_st* connection)>;

/// Dials the server, through its proxy if it has one, verifies it by `tls` (TlsContext::for_joining()), and asks for a
/// certificate (SPEC 8.6). Nothing is sent to a server that is not verified. Errors: those of ServerDialer::dial(),
/// tls_connect() and check_join_protocol(); "join.closed", "join.timed_out", "join.protocol". Throws operation_aborted
/// when it is stopped.
boost::asio::awaitable<Result<protocol::Enrolled>> ask_on_join_connection(Server server, Offload& offload,
                                                                          TlsContext tls, JoinRequest request);

}  // namespace culvert::agent
