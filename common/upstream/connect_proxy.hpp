// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "common/base/error.hpp"
#include "common/net/deadline.hpp"
#include "common/net/dialer.hpp"
#include "common/net/endpoint.hpp"

namespace culvert {

/// An HTTP proxy for outgoing connections, used with CONNECT (RFC 9110 9.3.6).
struct ConnectProxy {
  Endpoint endpoint;
  /// Returns "user:password" before `deadline`. Called for each dial, so that a changed file takes effect; must not
  /// block. The bytes are wiped after use; a string would leave copies behind when it is moved. Empty: no credentials
  /// are sent.
  std::function<boost::asio::awaitable<Result<std::vector<char>>>(Deadline deadline)> credentials;
};

/// Connects to `target` through `proxy` until `deadline`; the proxy resolves the name. Afterwards the socket carries
/// only the target's bytes; `remote` is the proxy's address. Errors: "proxy.unreachable" (no connection to the proxy),
/// "proxy.timed_out", "proxy.authentication_required" (407), "proxy.no_common_scheme" (407 without Basic),
/// "proxy.forbidden" (403), "proxy.refused" (another status), "proxy.closed" and "proxy.malformed" (no valid answer),
/// those of `credentials`, and the dial.* errors of this machine. Throws operation_aborted when it is stopped.
boost::asio::awaitable<Result<DialedSocket>> dial_through_proxy(Dialer& dialer, const ConnectProxy& proxy,
                                                                const Endpoint& target, Deadline deadline);

/// The same where there may be no proxy (nullptr). Through a proxy the target's rule for addresses is applied to a
/// literal; the proxy has rules of its own for names. Code also: "dial.address_denied".
boost::asio::awaitable<Result<DialedSocket>> dial_by_way_of(Dialer& dialer, const ConnectProxy* proxy,
                                                            DialTarget target, Deadline deadline);

/// Returns whether `host` (a name, or a literal without brackets) is dialled directly. Entries: "erp.corp" (that host),
/// ".corp" and "*.corp" (all names below corp, not corp itself), "10.0.0.0/8" (literals in that network), "*"
/// (everything). Case does not matter. An entry of any other form matches nothing.
bool bypasses_proxy(std::string_view host, const std::vector<std::string>& no_proxy);

}  // namespace culvert
