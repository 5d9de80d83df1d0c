// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/stream_acceptor.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <boost/asio/ip/address.hpp>

#include "common/admin/defect.hpp"
#include "common/net/outside.hpp"
#include "common/net/socket_address.hpp"
#include "common/tls/tls_connect.hpp"

namespace culvert {

using protocol::Reason;
using protocol::Reject;

namespace {

bool names_an_address(const std::string& host) {
  boost::system::error_code not_a_literal;
  (void)boost::asio::ip::make_address(host, not_a_literal);
  return !not_a_literal || host == "localhost";
}

}  // namespace

Reject reject_of(const Error& error) {
  if (error.code == "dial.refused") return {Reason::target_refused, false, "the target refused the connection"};
  if (error.code == "dial.timed_out" || error.code == "tls.timed_out")
    return {Reason::target_timed_out, false, "the target did not answer in time"};
  if (error.code == "dial.name_not_found" || error.code == "dial.dns_failed")
    return {Reason::target_name_unknown, false, "the target's name cannot be resolved"};
  if (error.code == "dial.address_denied")
    return {Reason::not_exposed, false, "the target's name leads to a forbidden address"};
  if (error.code == "dial.no_descriptors" || error.code == "dial.no_local_port")
    return {Reason::overloaded, true, "out of local ports or descriptors"};
  if (error.code.starts_with("tls.")) return {Reason::target_tls_failed, false, "TLS to the target failed"};
  return {Reason::target_unreachable, false, "the target cannot be reached"};
}

StreamAcceptor::StreamAcceptor(DataPlane& plane, Log& log)
    : plane_(plane),
      log_(log),
      dialer_(plane.worker().context().get_executor()),
      dials_(plane.worker().context().get_executor(), report_defect(log, "dial")) {}

void StreamAcceptor::dial(Tunnel& tunnel, protocol::StreamId stream, StreamTarget target, const LinkQuota& link,
                          const Limits& limits) {
  if (dials_.is_stopping()) return tunnel.reject(stream, {Reason::draining, true, "shutting down"});
  auto& churn = churn_[target.name];
  if (!churn) churn = std::make_shared<ChurnGuard>();
  if (!churn->allows(DataPlane::now())) {
    log_.limited(Log::Level::warn, "target.churn",
                 {{"target", target.name}, {"hint", "its streams are opened and reset at once, again and again"}});
    return tunnel.reject(stream, {Reason::overloaded, true, "streams to this target are opened and reset too quickly"});
  }
  auto link_place = Quota::take(link.streams, limits.streams_per_link_max);
  if (!link_place) return tunnel.reject(stream, {Reason::overloaded, true, "too many streams of this peer"});
  auto dial_place = Quota::take(link.dials, limits.dials_max);
  if (!dial_place) return tunnel.reject(stream, {Reason::overloaded, true, "too many dials of this peer under way"});

  Relay& relay = Relay::accept(tunnel, stream, {std::move(link_place), std::move(target.mapping_place), churn});
  boost::system::error_code not_a_literal;
  const auto address = boost::asio::ip::make_address(target.endpoint.host, not_a_literal);
  if (!not_a_literal && !target.tls && !target.addresses)
    return connect_directly(relay, address, target, std::move(dial_place));
  plane_.counters().dials.add();
  dials_.spawn(connect(relay.id(), std::move(target), std::move(dial_place)));
}

/// Nothing to look up, to choose or to shake hands with.
void StreamAcceptor::connect_directly(Relay& relay, const boost::asio::ip::address& address, const StreamTarget& target,
                                      std::shared_ptr<void> dial_place) {
  const boost::asio::ip::tcp::endpoint remote(address, target.endpoint.port);
  UniqueFd socket = make_tcp_socket(remote.protocol().family());
  if (!socket) return fail(relay, target.name, dial_error(target.endpoint, errno));
  if (::connect(socket.get(), remote.data(), static_cast<socklen_t>(remote.size())) == 0)
    return relay.connect(RelaySocket(std::move(socket)));
  if (errno != EINPROGRESS) return fail(relay, target.name, dial_error(target.endpoint, errno));
  Gauge& dials = plane_.counters().dials;
  dials.add();
  relay.wait_for({.socket = std::move(socket),
                  .deadline = DataPlane::now() + target.connect_time_max,
                  .place = std::move(dial_place),
                  .counted = {&dials, [](Gauge* gauge) { gauge->sub(); }},
                  .on_failed = [this, name = target.name, endpoint = target.endpoint](Relay& failed, int error) {
                    fail(failed, name, dial_error(endpoint, error));
                  }});
}

void StreamAcceptor::fail(Relay& relay, const std::string& target, const Error& error) {
  log_.limited(Log::Level::warn, "target.failed", {{"target", target}, {"code", error.code}, {"text", error.text}});
  relay.give_up(reject_of(error));
}

boost::asio::awaitable<void> StreamAcceptor::connect(EndId end, StreamTarget target, std::shared_ptr<void> dial_place) {
  struct Counted {
    Gauge& dials;
    ~Counted() { dials.sub(); }
  };
  const Counted counted{plane_.counters().dials};
  auto reached = co_await culvert::reach(dialer_, target);
  dial_place.reset();
  // The opener may have gone meanwhile. An EndId that accept() gave is a Relay's.
  auto* relay = static_cast<Relay*>(plane_.find_end(end));
  if (relay == nullptr) {
    // A connection that nobody had anything to say on must not look like a conversation that ended well.
    if (reached) reached->reset();
    co_return;
  }
  if (reached) {
    relay->connect(std::move(*reached));
  } else {
    fail(*relay, target.name, reached.error());
  }
}

void StreamAcceptor::reach(EndId end, StreamTarget target, Reached done) {
  if (dials_.is_stopping()) return;
  plane_.counters().dials.add();
  dials_.spawn(reach_for(end, std::move(target), std::move(done)));
}

boost::asio::awaitable<void> StreamAcceptor::reach_for(EndId end, StreamTarget target, Reached done) {
  struct Counted {
    Gauge& dials;
    ~Counted() { dials.sub(); }
  };
  const Counted counted{plane_.counters().dials};
  auto reached = co_await culvert::reach(dialer_, target);
  if (!reached) {
    log_.limited(Log::Level::warn, "target.failed",
                 {{"target", target.name}, {"code", reached.error().code}, {"text", reached.error().text}});
  }
  StreamEnd* waiting = plane_.find_end(end);
  if (waiting != nullptr) {
    done(*waiting, std::move(reached), target);
  } else if (reached) {
    reached->reset();
  }
}

boost::asio::awaitable<Result<RelaySocket>> reach(Dialer& dialer, const StreamTarget& target) {
  const auto deadline = std::chrono::steady_clock::now() + target.connect_time_max;
  DialTarget where{target.endpoint, {}};
  // An address that the configuration itself names is meant; a name may lead anywhere its DNS says, but not into this
  // host or its link, unless the configuration says where to.
  if (target.addresses) {
    where.allows = [allowed = target.addresses](const boost::asio::ip::address& address) {
      return allowed->allows(address);
    };
  } else if (!names_an_address(target.endpoint.host)) {
    where.allows = is_outside;
  }
  auto dialed = co_await dialer.dial(std::move(where), deadline);
  if (!dialed) co_return std::unexpected(dialed.error());
  if (!target.tls) co_return RelaySocket(std::move(dialed->fd));
  UniqueSsl ssl = target.tls->context.make_ssl();
  auto connected = co_await tls_connect(std::move(dialed->fd), std::move(ssl), target.tls->server_name, deadline);
  if (!connected) co_return std::unexpected(connected.error());
  co_return RelaySocket(std::move(*connected));
}

}  // namespace culvert
