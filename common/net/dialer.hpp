// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "common/base/error.hpp"
#include "common/net/deadline.hpp"
#include "common/net/endpoint.hpp"
#include "common/net/name_resolver.hpp"
#include "common/net/unique_fd.hpp"

namespace culvert {

/// A target, and a check for the addresses of its name.
struct DialTarget {
  Endpoint endpoint;
  /// Called for every address of the name before the first is dialled; if one is not allowed, the whole target is
  /// refused. Only the addresses that were checked are dialled: nothing is resolved twice (threats B13). Empty: any
  /// address.
  std::function<bool(const boost::asio::ip::address&)> allows;
};

/// A connected TCP socket: non-blocking, close-on-exec, without Nagle's delay.
struct DialedSocket {
  UniqueFd fd;
  boost::asio::ip::tcp::endpoint remote;
  std::chrono::steady_clock::duration took{};  ///< From the DNS request to the connection.
};

/// The error that dial() returns when connect() fails with `error` for a target with one address.
Error dial_error(const Endpoint& target, int error);

/// Opens TCP connections for one worker; lives on it.
class Dialer {
 public:
  /// `lookup` as in NameResolver.
  explicit Dialer(boost::asio::any_io_executor executor, NameLookup lookup = {});

  /// Resolves the target and connects to the first of its addresses that answers (RFC 8305: alternating families, 250
  /// ms apart), until `deadline`. A literal needs no resolver. Errors: "dial.refused", "dial.timed_out",
  /// "dial.unreachable", "dial.name_not_found", "dial.address_denied" (of the target); "dial.dns_failed",
  /// "dial.no_local_port", "dial.no_descriptors" (of this machine). Throws operation_aborted when it is stopped, and
  /// leaves no descriptor open.
  boost::asio::awaitable<Result<DialedSocket>> dial(DialTarget target, Deadline deadline);

 private:
  boost::asio::any_io_executor executor_;
  NameResolver resolver_;
};

}  // namespace culvert
