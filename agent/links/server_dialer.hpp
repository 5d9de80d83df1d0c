// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "agent/config/config.hpp"
#include "common/net/dialer.hpp"
#include "common/net/offload.hpp"

namespace culvert::agent {

/// Opens TCP connections to one server, directly or through its HTTP proxy. Lives on the executor's worker.
class ServerDialer {
 public:
  /// `offload` reads the proxy's password; it must outlive this.
  ServerDialer(const boost::asio::any_io_executor& executor, const Server& server, Offload& offload);

  /// Whether a proxy stands between: the TCP connection ends there.
  bool is_behind_proxy() const { return proxy_.has_value(); }
  /// Connects within 10 s. Errors: those of Dialer::dial() and dial_through_proxy(). Throws operation_aborted when the
  /// calling coroutine is stopped. Several dials may run at the same time; all end before this object does.
  boost::asio::awaitable<Result<DialedSocket>> dial();

 private:
  const Endpoint address_;
  Offload& offload_;
  std::optional<ProxySettings> proxy_;
  Dialer dialer_;
};

}  // namespace culvert::agent
