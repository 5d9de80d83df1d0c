// SPDX-License-Identifier: Apache-2.0
#include "agent/links/server_link.hpp"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "common/admin/defect.hpp"
#include "common/base/chance.hpp"
#include "common/tls/peer_identity.hpp"

namespace culvert::agent {

using protocol::Reason;
using LogLine = LinkPolicy::LogLine;

namespace {

/// Tunnels of one link are replaced one after the other.
constexpr std::chrono::milliseconds replace_within{2'000};
constexpr std::chrono::milliseconds empty_poll_interval{200};

std::chrono::steady_clock::time_point now() {
  return std::chrono::steady_clock::now();
}

LinkPolicy::Settings policy_settings(const Server& server, const ServerDialer& dialer, QuickTries& quick_tries) {
  return {.tunnels_min = server.tunnels_min,
          .tunnels_max = server.tunnels_max,
          .far_round_trip = server.far_round_trip,
          .behind_proxy = dialer.is_behind_proxy(),
          .quick_tries = &quick_tries};
}

/// Closes the tunnel once its streams have ended. Runs on the tunnel's worker.
void close_when_empty(DataPlane& plane, TunnelId id) {
  Tunnel* tunnel = plane.find_tunnel(id);
  if (tunnel == nullptr) return;
  if (tunnel->streams() == 0) return tunnel->close(Reason::shutdown, "drained");
  auto timer = std::make_shared<boost::asio::steady_timer>(plane.worker().context(), empty_poll_interval);
  timer->async_wait([&plane, id, timer](const boost::system::error_code& error) {
    if (!error) close_when_empty(plane, id);
  });
}

void post_close_when_empty(DataPlane& plane, TunnelId id) {
  plane.worker().post([&plane, id] { close_when_empty(plane, id); });
}

}  // namespace

ServerLink::ServerLink(const LinkContext& context, Server server, TlsContext tls, std::string replica,
                       std::shared_ptr<MemoryHolder> memory, QuickTries& quick_tries, std::function<void()> on_change)
    : context_(context),
      server_(std::move(server)),
      quota_{.descriptors = context_.descriptors, .holder = server_.name},
      memory_(std::move(memory)),
      tls_(std::move(tls)),
      dialer_(context_.planes.home().context().get_executor(), server_, context_.offload),
      policy_(policy_settings(server_, dialer_, quick_tries), std::move(replica), chance),
      on_change_(std::move(on_change)),
      dials_(context_.planes.home().context().get_executor(), report_defect(context_.log, "link " + server_.name)) {}

void ServerLink::start() {
  carry_out(policy_.start(now()));
}

void ServerLink::change(const Server& server, const TlsContext& tls) {
  server_.credentials = server.credentials;
  tls_ = tls;
}

void ServerLink::replace_tunnels() {
  for (const auto& [id, plane] : std::map(tunnels_)) carry_out(policy_.replace(id, replace_within, now()));
}

bool ServerLink::ask_to_renew(const protocol::Renew& request, const RenewalAnswer& answer) {
  for (const TunnelId id : renewing_) {
    if (policy_.is_draining() || asked_.contains(id)) continue;
    asked_[id] = answer;
    on_its_worker(id, [request](Tunnel& tunnel) {
      if (tunnel.may_open()) tunnel.renew(request);
    });
    return true;
  }
  return false;
}

ServerLink::Status ServerLink::status() const {
  Status status{policy_.last_error(), {}};
  for (const auto& [id, plane] : tunnels_) status.tunnels.push_back(id);
  return status;
}

// ---- dialling

/// The part of a decision that is the same for all events.
void ServerLink::carry_out(const LinkPolicy::Decision& decision) {
  for (const LinkPolicy::Dial& order : decision.dials) dials_.spawn(dial(order));
  if (decision.leave && tunnels_.contains(*decision.leave)) leave(*decision.leave);
  if (decision.notify_owner) on_change_();
}

boost::asio::awaitable<void> ServerLink::dial(LinkPolicy::Dial order) {
  if (order.pause.count() > 0) {
    boost::asio::steady_timer timer(context_.planes.home().context(), order.pause);
    (void)co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
  auto dialed = co_await dialer_.dial();
  if (policy_.is_draining()) co_return;
  const Result<void> begun =
      dialed ? begin(order.keeper, std::move(*dialed)) : Result<void>(std::unexpected(dialed.error()));
  if (begun) co_return;
  const auto decision = policy_.dial_failed(order.keeper, begun.error(), now());
  log_failure(decision.log, begun.error());
  carry_out(decision);
}

/// Makes a tunnel of a connection, on the next worker in turn.
Result<void> ServerLink::begin(LinkPolicy::KeeperId keeper, DialedSocket dialed) {
  UniqueSsl ssl = tls_.make_ssl();
  if (auto expected = set_expected_server_name(ssl.get(), server_.server_name); !expected)
    return std::unexpected(expected.error());
  const TunnelId id = DataPlane::next_tunnel_id();
  const LinkPolicy::Greeting greeting = policy_.dialed(keeper, id);
  Tunnel::Setup setup{.id = id,
                      .fd = std::move(dialed.fd),
                      .ssl = std::move(ssl),
                      .session = {},
                      .peer = to_string(Endpoint{dialed.remote.address().to_string(), dialed.remote.port()}),
                      .congestion_control = server_.congestion_control,
                      .memory_holder = memory_};
  setup.session.role = protocol::Role::agent;
  setup.session.streams_max = context_.limits.streams_max;
  setup.session.hello.capabilities = {std::string(protocol::renew_capability), std::string(protocol::heads_capability)};
  setup.session.hello.instance = context_.instance;
  setup.session.hello.epoch = greeting.epoch;
  setup.session.hello.slot = greeting.slot;
  setup.session.hello.wanted_replica = policy_.replica();
  setup.session.hello.software = "culvert-agent " CULVERT_VERSION;
  DataPlane& plane = context_.planes.plane(next_plane_++ % context_.planes.size());
  tunnels_[id] = &plane;
  plane.worker().post([this, &plane, moved = std::make_shared<Tunnel::Setup>(std::move(setup))] {
    plane.add(std::make_unique<Tunnel>(plane, std::move(*moved), *this));
  });
  return {};
}

void ServerLink::log_failure(LogLine line, const Error& why) {
  if (line == LogLine::server_unreachable) {
    context_.log.warn(
        "server.unreachable",
        {{"server", server_.name}, {"replica", policy_.replica()}, {"code", why.code}, {"text", why.text}});
  } else if (line == LogLine::replica_unreachable) {
    context_.log.warn("replica.unreachable", {{"server", server_.name},
                                              {"replica", policy_.replica()},
                                              {"tries", policy_.misses()},
                                              {"hint", "other replicas answer each time; it is tried every 30 s"}});
  }
}

// ---- events of tunnels, at home

void ServerLink::welcomed(const Arrival& arrival) {
  const auto decision = policy_.welcomed(arrival.id, arrival.welcome, now());
  if (decision.order == LinkPolicy::TunnelOrder::close_as_wrong_replica) {
    on_its_worker(arrival.id, [](Tunnel& tunnel) { tunnel.close(Reason::wrong_replica, "not the wanted replica"); });
  }
  if (decision.log == LogLine::tunnel_up) {
    context_.log.info(
        "tunnel.up",
        {{"server", server_.name}, {"replica", policy_.replica()}, {"peer", arrival.peer}, {"tunnel", arrival.id}});
  }
  if (arrival.can_renew && tunnels_.contains(arrival.id)) renewing_.insert(arrival.id);
  carry_out(decision);
}

void ServerLink::take_announced_replicas() {
  announcing_ = false;
  carry_out(policy_.announced(*announced_.get()));
}

void ServerLink::widen() {
  const auto decision = policy_.congested(now());
  if (decision.log == LogLine::link_widened) {
    context_.log.info(
        "link.widened",
        {{"server", server_.name}, {"replica", policy_.replica()}, {"tunnels", policy_.tunnels_wanted()}});
  }
  carry_out(decision);
}

void ServerLink::draining(TunnelId id, std::chrono::milliseconds delay) {
  const auto decision = policy_.draining(id, delay, now());
  if (decision.log == LogLine::tunnel_draining) {
    context_.log.info(
        "tunnel.draining",
        {{"server", server_.name}, {"replica", policy_.replica()}, {"tunnel", id}, {"delay_ms", delay.count()}});
  }
  carry_out(decision);
  if (decision.order == LinkPolicy::TunnelOrder::close_when_empty) post_close_when_empty(*tunnels_.at(id), id);
}

void ServerLink::closed(TunnelId id, const Error& why) {
  const auto decision = policy_.closed(id, why, now());
  tunnels_.erase(id);
  renewing_.erase(id);
  asked_.erase(id);
  log_end(decision.log, id, why);
  carry_out(decision);
}

void ServerLink::log_end(LogLine line, TunnelId id, const Error& why) {
  const LogFields fields{
      {"server", server_.name}, {"replica", policy_.replica()}, {"tunnel", id}, {"code", why.code}, {"text", why.text}};
  if (line == LogLine::tunnel_left) {
    context_.log.info("tunnel.down", fields);
  } else if (line == LogLine::tunnel_lost) {
    context_.log.warn("tunnel.down", fields);
  } else {
    log_failure(line, why);
  }
}

// ---- the end

/// Runs `task` on the tunnel's worker if the tunnel lives until then.
void ServerLink::on_its_worker(TunnelId id, std::function<void(Tunnel&)> task) {
  DataPlane& plane = *tunnels_.at(id);
  plane.worker().post([&plane, id, task = std::move(task)] {
    if (Tunnel* tunnel = plane.find_tunnel(id)) task(*tunnel);
  });
}

void ServerLink::drain() {
  if (policy_.is_draining()) return;
  policy_.drain();
  for (const auto& [id, plane] : tunnels_) ask_to_drain(id);
  dials_.request_stop();
}

/// Neither side opens streams on it any more.
void ServerLink::ask_to_drain(TunnelId id) {
  on_its_worker(id, [this](Tunnel& tunnel) {
    context_.directory.remove(server_.name, tunnel.id());
    tunnel.drain(Reason::shutdown, std::chrono::milliseconds(0));
  });
}

void ServerLink::leave(TunnelId id) {
  renewing_.erase(id);
  ask_to_drain(id);
  post_close_when_empty(*tunnels_.at(id), id);
}

void ServerLink::close_when_empty() {
  for (const auto& [id, plane] : tunnels_) post_close_when_empty(*plane, id);
}

void ServerLink::stop() {
  drain();
  for (const auto& [id, plane] : tunnels_) {
    on_its_worker(id, [](Tunnel& tunnel) { tunnel.close(Reason::shutdown, "the agent stops"); });
  }
}

}  // namespace culvert::agent
