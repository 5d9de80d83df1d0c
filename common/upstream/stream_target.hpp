// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "common/base/permit.hpp"
#include "common/net/address_rule.hpp"
#include "common/net/endpoint.hpp"
#include "common/tls/tls_context.hpp"
#include "common/upstream/connect_proxy.hpp"

namespace culvert {

/// The target of a stream. It is from the program's own configuration; the peer only selects it.
struct StreamTarget {
  struct Tls {
    TlsContext context;
    std::string server_name;
  };
  Endpoint endpoint;
  std::string name;  ///< Name of the mapping, for logs.
  std::chrono::milliseconds connect_time_max{10'000};
  std::optional<Tls> tls;
  /// Networks that a name may resolve to. nullptr: any except this host and its link (is_outside()).
  std::shared_ptr<const AddressRule> addresses;
  /// The proxy on the way there, which resolves the name itself, so that `addresses` concerns literals only. nullptr:
  /// there is none.
  std::shared_ptr<const ConnectProxy> proxy;
  /// Open connections of the mapping, and their limit. nullptr: they are not counted.
  std::shared_ptr<Quota> connections;
  std::uint32_t connections_max = 0;
};

}  // namespace culvert
