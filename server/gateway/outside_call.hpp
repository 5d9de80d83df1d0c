// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "common/http/head.hpp"
#include "common/net/address_rule.hpp"
#include "common/net/deadline.hpp"
#include "common/net/dialer.hpp"
#include "common/tls/tls_context.hpp"
#include "common/upstream/connect_proxy.hpp"
#include "server/targets/target_url.hpp"

namespace culvert::server {

/// A server outside that the gateway itself asks: a token service, the place of CSRF tokens.
struct OutsideServer {
  TargetUrl url;
  std::optional<TlsContext> tls;  ///< For https:// and nothing else.
  std::shared_ptr<const AddressRule> addresses;
  std::shared_ptr<const ConnectProxy> proxy;  ///< StreamTarget::proxy
};

struct OutsideAnswer {
  http::ResponseHead head;
  std::string body;
};

/// Sends one request and reads the whole answer, of at most `bytes_max`. `head` has the method and its fields; the URL
/// adds what is missing. Errors: those of the Dialer, "tls.*", "fetch.*". Throws operation_aborted when it is stopped.
boost::asio::awaitable<Result<OutsideAnswer>> ask_outside(Dialer& dialer, const OutsideServer& server,
                                                          http::RequestHead head, std::string body,
                                                          std::size_t bytes_max, Deadline deadline);

}  // namespace culvert::server
