// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/address.hpp>

#include "common/admin/log.hpp"
#include "common/base/quota.hpp"
#include "common/net/allow_list.hpp"
#include "common/net/dialer.hpp"
#include "common/net/endpoint.hpp"
#include "common/net/task_group.hpp"
#include "common/tls/tls_context.hpp"
#include "common/tunnel/relay.hpp"

namespace culvert {

/// Where an opened stream goes, decided by the program's own table and by nothing the peer says.
struct StreamTarget {
  struct Tls {
    TlsContext context;
    std::string server_name;
  };
  Endpoint endpoint;
  std::string name;  ///< For logs: the mapping.
  std::chrono::milliseconds connect_time_max{10'000};
  std::optional<Tls> tls;
  /// Where a name may lead. nullptr: is_outside().
  std::shared_ptr<const AllowList> addresses;
  std::shared_ptr<Quota> mapping_place;  ///< Of the mapping's connections; nullptr: they are not counted.
};

/// Dials the target, speaks TLS to it where that is wanted. Errors: the Dialer's, and those of tls_connect().
boost::asio::awaitable<Result<RelaySocket>> reach(Dialer& dialer, const StreamTarget& target);

/// What the opener learns of a failure to reach a target: a reason of the closed list, and no internal host name.
protocol::Reject reject_of(const Error& error);

/// One worker's dialling: an OPEN that was authorised becomes a connection to its target, then an ACCEPT; or a REJECT
/// that says why not.
class StreamAcceptor {
 public:
  struct Limits {
    std::uint32_t streams_per_link_max;
    std::uint32_t dials_max;
  };
  StreamAcceptor(DataPlane& plane, Log& log);

  /// What exceeds `limits` of the peer's `link` is refused as overloaded, retryable; so is for a moment an origin that
  /// opens and resets in a loop.
  void dial(Tunnel& tunnel, protocol::StreamId stream, StreamTarget target, const LinkQuota& link,
            const Limits& limits);

  /// The same for an end that makes more of a connection than a relay does. `done` is called with the end, if that
  /// still lives, and with the target as it was given.
  using Reached = std::function<void(StreamEnd&, Result<RelaySocket>, StreamTarget&)>;
  void reach(EndId end, StreamTarget target, Reached done);

  /// On the worker. Wait until size() is 0 before it ends.
  void request_stop() { dials_.request_stop(); }
  std::size_t size() const { return dials_.size(); }

 private:
  void connect_directly(Relay& relay, const boost::asio::ip::address& address, const StreamTarget& target,
                        std::shared_ptr<void> dial_place);
  void fail(Relay& relay, const std::string& target, const Error& error);
  boost::asio::awaitable<void> connect(EndId end, StreamTarget target, std::shared_ptr<void> dial_place);
  boost::asio::awaitable<void> reach_for(EndId end, StreamTarget target, Reached done);

  DataPlane& plane_;
  Log& log_;
  Dialer dialer_;
  std::unordered_map<std::string, std::shared_ptr<ChurnGuard>> churn_;  ///< By target name: as many as are configured.
  TaskGroup dials_;
};

}  // namespace culvert
