// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "common/net/dialer.hpp"
#include "common/tls/tls_context.hpp"
#include "server/web/document_url.hpp"

namespace culvert::server {

/// Fetches one small document with GET: status 200 and a body of at most `bytes_max`, complete before `deadline`.
/// Redirects are not followed. `tls` must be there for https://, and only for it. Errors: Dialer's, "tls.*", and
/// "fetch.broken_off", "fetch.timed_out", "fetch.malformed", "fetch.status", "fetch.too_large". Throws
/// operation_aborted when it is stopped.
boost::asio::awaitable<Result<std::string>> fetch_document(Dialer& dialer, DocumentUrl url,
                                                           std::optional<TlsContext> tls, std::size_t bytes_max,
                                                           Deadline deadline);

}  // namespace culvert::server
