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

/// An HTTP proxy that lets us out by CONNECT (RFC 9110 9.3.6).
struct ConnectProxy {
  Endpoint endpoint;
  /// Yields "user:password" at each dial, so that a changed file counts; the text is wiped after use. Empty: none are
  /// sent.
  std::function<Result<std::string>()> credentials;
};

/// Connects to `target` through `proxy`, all of it until `deadline`; the proxy resolves the name. The socket carries
/// nothing but the target's bytes from then on; `remote` is the proxy's address. Errors: "proxy.unreachable" (no
/// connection to the proxy), "proxy.timed_out", "proxy.authentication_required" (407), "proxy.forbidden" (403),
/// "proxy.refused" (another status), "proxy.closed" and "proxy.malformed" (no proper answer), those of `credentials`,
/// and dial's of this machine. Throws operation_aborted when it is stopped.
boost::asio::awaitable<Result<DialedSocket>> dial_through_proxy(Dialer& dialer, const ConnectProxy& proxy,
                                                                const Endpoint& target, Deadline deadline);

/// Whether `host` (a name, or a literal without brackets) is dialled directly. Entries: "erp.corp" (that host), ".corp"
/// and "*.corp" (all names below corp, not corp itself), "10.0.0.0/8" (literals in that network), "*" (everything).
/// Upper and lower case are the same; an entry of another form matches nothing.
bool bypasses_proxy(std::string_view host, const std::vector<std::string>& no_proxy);

}  // namespace culvert
