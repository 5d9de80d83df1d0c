// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "common/http/head.hpp"
#include "common/net/dialer.hpp"
#include "common/tls/tls_context.hpp"

namespace culvert::server {

/// A GET by https://, or by http:// from this very machine: "http://" takes loopback addresses only. Code
/// "config.malformed".
Result<http::RequestHead> parse_document_url(std::string_view url);

/// Asks for one small document: 200 and a body of at most `bytes_max`, which must come whole until `deadline`. No
/// redirect is followed. `tls` is for https://, and must be there for it. Errors: Dialer's, "tls.*", and
/// "fetch.broken_off", "fetch.timed_out", "fetch.malformed", "fetch.status", "fetch.too_large". Throws
/// operation_aborted when it is stopped.
boost::asio::awaitable<Result<std::string>> fetch_document(Dialer& dialer, http::RequestHead request,
                                                           std::optional<TlsContext> tls, std::size_t bytes_max,
                                                           Deadline deadline);

}  // namespace culvert::server
