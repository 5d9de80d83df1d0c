// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "common/base/error.hpp"
#include "common/net/unique_fd.hpp"
#include "common/tls/tls_engine.hpp"

namespace culvert {

/// A connection to a back end after the handshake.
struct TlsConnected {
  UniqueFd fd;
  std::unique_ptr<TlsEngine> engine;
  std::vector<std::byte> unread;  ///< Ciphertext that arrived after the handshake.
};

/// Performs the handshake as a client that expects `server_name` (a DNS name or an address), until `deadline`. Errors:
/// tls.timed_out, tls.closed, dial.no_descriptors, and those of describe_tls_failure(). Throws operation_aborted when
/// it is stopped.
boost::asio::awaitable<Result<TlsConnected>> tls_connect(UniqueFd fd, UniqueSsl ssl, std::string server_name,
                                                         std::chrono::steady_clock::time_point deadline);

}  // namespace culvert
