// SPDX-License-Identifier: Apache-2.0
#include "agent/server_link.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include "agent/http_exchange.hpp"
#include "common/admin/defect.hpp"
#include "common/config/secret_file.hpp"
#include "common/net/connect_proxy.hpp"
#include "common/tls/peer_identity.hpp"

namespace culvert::agent {

using protocol::Reason;

namespace {

constexpr std::chrono::seconds dial_time_max{10};
constexpr std::chrono::milliseconds empty_poll_interval{200};
constexpr std::chrono::seconds widen_pause{1};

std::function<double()> chance() {
  return [source = std::minstd_rand(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<>(0, 1)(source);
  };
}

/// On the tunnel's worker: who was asked to leave closes, once its streams have ended.
void close_when_empty(DataPlane& plane, TunnelId id) {
  Tunnel* tunnel = plane.find_tunnel(id);
  if (tunnel == nullptr) return;
  if (tunnel->streams() == 0) return tunnel->close(Reason::shutdown, "drained");
  auto timer = std::make_shared<boost::asio::steady_timer>(plane.worker().context(), empty_poll_interval);
  timer->async_wait([&plane, id, timer](const boost::system::error_code& error) {
    if (!error) close_when_empty(plane, id);
  });
}

}  // namespace

ServerLink::ServerLink(const LinkSurroundings& surroundings, Server server, TlsContext tls)
    : around_(surroundings),
      server_(std::move(server)),
      tls_(std::move(tls)),
      dialer_(around_.planes.home().context().get_executor()),
      wanted_(server_.tunnels_min),
      changed_(around_.planes.home().context().get_executor()),
      keepers_(around_.planes.home().context().get_executor(), report_defect(around_.log, "link " + server_.name)) {}

ServerLink::~ServerLink() = default;

void ServerLink::succeed(const ServerLink& older) {
  epoch_ = std::max(epoch_, older.epoch_);
  first_slot_ = std::max(first_slot_, older.first_slot_);
  for (const auto& [id, known] : older.tunnels_) first_slot_ = std::max(first_slot_, known.slot + 1);
}

void ServerLink::start() {
  spawn_keepers();
}

void ServerLink::spawn_keepers() {
  for (; keeping_ < wanted_ && !draining_; ++keeping_) keepers_.spawn(keep());
}

/// One keeper's life: dial, live, dial again, while as many are wanted.
boost::asio::awaitable<void> ServerLink::keep() {
  Backoff backoff(chance());
  while (!draining_) {
    if (keeping_ > wanted_) {
      --keeping_;
      co_return;
    }
    auto dialed = co_await reach();
    if (draining_) co_return;
    Result<TunnelId> begun = dialed ? begin(std::move(*dialed)) : std::unexpected(dialed.error());
    if (!begun) {
      note_failure(begun.error());
      co_await pause(backoff.next_delay(std::chrono::steady_clock::now()));
      continue;
    }
    bool was_up = false;
    for (auto it = tunnels_.find(*begun); it != tunnels_.end() && !it->second.leaving; it = tunnels_.find(*begun)) {
      if (it->second.up && !std::exchange(was_up, true)) backoff.up(std::chrono::steady_clock::now());
      co_await changed_.wait();
    }
    if (const auto it = tunnels_.find(*begun); it != tunnels_.end()) {
      // Make before break: the old one lives on until its streams have ended.
      co_await pause(std::chrono::milliseconds(
          static_cast<std::int64_t>(static_cast<double>(it->second.leave_within.count()) * chance()())));
    } else {
      co_await pause(backoff.next_delay(std::chrono::steady_clock::now()));
    }
  }
}

boost::asio::awaitable<void> ServerLink::pause(std::chrono::milliseconds time) {
  boost::asio::steady_timer timer(around_.planes.home().context(), time);
  (void)co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
}

boost::asio::awaitable<Result<DialedSocket>> ServerLink::reach() {
  const auto deadline = std::chrono::steady_clock::now() + dial_time_max;
  if (!server_.proxy || !is_behind_proxy()) {
    DialTarget target{server_.address, {}};
    co_return co_await dialer_.dial(std::move(target), deadline);
  }
  const ProxySettings wanted = *server_.proxy;
  ConnectProxy proxy;
  proxy.endpoint = wanted.address;
  if (!wanted.user.empty()) {
    proxy.credentials = [settings = wanted]() -> Result<std::string> {
      auto password = read_secret_file(settings.password_file);
      if (!password) return std::unexpected(password.error());
      return fmt::format("{}:{}", settings.user, password->reveal());
    };
  }
  co_return co_await dial_through_proxy(dialer_, proxy, server_.address, deadline);
}

bool ServerLink::is_behind_proxy() const {
  return server_.proxy && !bypasses_proxy(server_.address.host, server_.proxy->no_proxy);
}

/// Makes a tunnel of a connection, on the next worker in turn.
Result<TunnelId> ServerLink::begin(DialedSocket dialed) {
  UniqueSsl ssl = tls_.make_ssl();
  if (auto expected = set_expected_server_name(ssl.get(), server_.server_name); !expected)
    return std::unexpected(expected.error());
  const TunnelId id = DataPlane::next_tunnel_id();
  Known known;
  known.plane = next_plane_++ % around_.planes.size();
  known.slot = free_slot();
  known.through_proxy = is_behind_proxy();
  Tunnel::Setup setup{.id = id,
                      .fd = std::move(dialed.fd),
                      .ssl = std::move(ssl),
                      .session = {},
                      .peer = to_string(Endpoint{dialed.remote.address().to_string(), dialed.remote.port()}),
                      .congestion_control = server_.congestion_control};
  setup.session.role = protocol::Role::agent;
  setup.session.streams_max = around_.limits.streams_per_link_max;
  setup.session.hello.instance = around_.instance;
  setup.session.hello.epoch = epoch_;
  setup.session.hello.slot = known.slot;
  setup.session.hello.software = "culvert-agent " CULVERT_VERSION;
  tunnels_[id] = known;
  DataPlane& plane = around_.planes.plane(known.plane);
  plane.worker().post([this, &plane, moved = std::make_shared<Tunnel::Setup>(std::move(setup))] {
    plane.add(std::make_unique<Tunnel>(plane, std::move(*moved), *this));
  });
  return id;
}

/// The same slot would evict the tunnel that has it (SPEC 8.1), also one that drains.
std::uint32_t ServerLink::free_slot() const {
  std::uint32_t slot = first_slot_;
  while (std::ranges::any_of(tunnels_, [slot](const auto& tunnel) { return tunnel.second.slot == slot; })) ++slot;
  return slot;
}

/// A server that stays away makes one line per kind of failure, not one per try.
void ServerLink::note_failure(const Error& error) {
  last_error_ = fmt::format("{}: {}", error.code, error.text);
  if (error.code == std::exchange(last_code_, error.code)) return;
  around_.log.warn("server.unreachable", {{"server", server_.name}, {"code", error.code}, {"text", error.text}});
}

bool ServerLink::is_for(const Server& server, const TlsContext& tls) const {
  Server same = server;
  same.credentials = server_.credentials;
  const auto& ours = tls_.own_certificate();
  const auto& theirs = tls.own_certificate();
  return same == server_ && ours && theirs && ours->names == theirs->names;
}

void ServerLink::change(const Server& server, const TlsContext& tls) {
  server_.credentials = server.credentials;
  tls_ = tls;
}

std::size_t ServerLink::tunnels_up() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(tunnels_, [](const auto& tunnel) { return tunnel.second.up && !tunnel.second.leaving; }));
}

ServerLink::Status ServerLink::status() const {
  Status status{last_error_, {}};
  for (const auto& [id, known] : tunnels_) status.tunnels.push_back(id);
  return status;
}

// ---- on a tunnel's worker

Result<void> ServerLink::on_secured(Tunnel& tunnel) {
  return check_tunnel_protocol(tunnel.tls().native());
}

void ServerLink::on_greeted(Tunnel&, const protocol::Hello&) {}

void ServerLink::on_welcomed(Tunnel& tunnel, const protocol::Welcome&) {
  around_.directory.add(server_.name, {tunnel.id(), tunnel.plane().worker().index(), tunnel.load()});
  around_.planes.home().post([this, id = tunnel.id(), peer = tunnel.peer(),
                              round_trips = RoundTrips{tunnel.tcp_round_trip(), tunnel.tls_round_trip()}] {
    welcomed(id, peer, round_trips);
  });
}

void ServerLink::on_congested(Tunnel&) {
  around_.planes.home().post([this] { widen(); });
}

void ServerLink::on_opened(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open) {
  if (open.kind == protocol::Open::Kind::http) return open_exchange(tunnel, stream, open);
  if (open.kind != protocol::Open::Kind::host)
    return tunnel.reject(stream, {Reason::kind_unknown, false, "an agent leads to virtual hosts only"});
  auto target = around_.mappings.get()->find(server_.name, open.name, open.port);
  if (!target) return refuse(tunnel, stream, open, target.error());
  around_.acceptors[tunnel.plane().worker().index()]->dial(tunnel, stream, std::move(*target), quota_, around_.limits);
}

void ServerLink::open_exchange(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open) {
  auto target = around_.mappings.get()->find_http(server_.name, open.name, open.port);
  if (!target) return refuse(tunnel, stream, open, target.error());
  auto place = Quota::take(quota_.streams, around_.limits.streams_per_link_max);
  if (!place) return tunnel.reject(stream, {Reason::overloaded, true, "too many streams of this peer"});
  const std::size_t worker = tunnel.plane().worker().index();
  HttpExchange::start({tunnel.plane(), *around_.acceptors[worker], *around_.pools[worker], around_.log}, tunnel, stream,
                      open, std::move(*target), std::move(place));
}

void ServerLink::refuse(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open,
                        SystemMappings::Refusal why) {
  using Refusal = SystemMappings::Refusal;
  if (why == Refusal::speaks_http)
    return tunnel.reject(stream, {Reason::speaks_http, false, "this virtual host speaks HTTP: use http://"});
  const bool full = why == Refusal::full;
  around_.log.limited(
      Log::Level::warn, full ? "mapping.full" : "mapping.not_exposed",
      {{"server", server_.name},
       {"virtual_host", open.name},
       {"port", open.port},
       {"hint", full ? "all of its connections_max are open" : "no system_mapping of this server exposes it"}});
  if (full) return tunnel.reject(stream, {Reason::overloaded, false, "all connections of the mapping are open"});
  tunnel.reject(stream, {Reason::not_exposed, false, "the agent does not expose this virtual host"});
}

void ServerLink::on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) {
  around_.directory.remove(server_.name, tunnel.id());
  around_.planes.home().post([this, id = tunnel.id(), delay] { draining(id, delay); });
}

void ServerLink::on_closed(Tunnel& tunnel, const Error& why) {
  around_.directory.remove(server_.name, tunnel.id());
  around_.planes.home().post([this, id = tunnel.id(), why] { closed(id, why); });
}

// ---- the same news, at home

void ServerLink::welcomed(TunnelId id, const std::string& peer, RoundTrips round_trips) {
  const auto found = tunnels_.find(id);
  if (found == tunnels_.end()) return;
  found->second.up = was_up_ = true;
  last_code_.clear();
  last_error_.clear();
  around_.log.info("tunnel.up", {{"server", server_.name}, {"peer", peer}, {"tunnel", id}});
  changed_.notify();
  // A handshake of TLS also takes what a busy machine takes, so it counts only where TCP ends before the server.
  const auto round_trip = found->second.through_proxy ? round_trips.tls : round_trips.tcp;
  if (round_trip < server_.far_round_trip) return;
  wanted_ = server_.tunnels_max;
  spawn_keepers();
}

/// One more. Every tunnel of the link may say that it is congested, so not more than one within a second.
void ServerLink::widen() {
  const auto now = std::chrono::steady_clock::now();
  if (draining_ || wanted_ >= server_.tunnels_max || now - widened_ < widen_pause) return;
  widened_ = now;
  ++wanted_;
  around_.log.info("link.widened", {{"server", server_.name}, {"tunnels", wanted_}});
  spawn_keepers();
}

void ServerLink::draining(TunnelId id, std::chrono::milliseconds delay) {
  const auto found = tunnels_.find(id);
  if (found == tunnels_.end() || std::exchange(found->second.leaving, true)) return;
  found->second.leave_within = delay;
  around_.log.info("tunnel.draining", {{"server", server_.name}, {"tunnel", id}, {"delay_ms", delay.count()}});
  changed_.notify();
  DataPlane& plane = around_.planes.plane(found->second.plane);
  plane.worker().post([&plane, id] { agent::close_when_empty(plane, id); });
}

void ServerLink::closed(TunnelId id, const Error& why) {
  const auto found = tunnels_.find(id);
  if (found == tunnels_.end()) return;
  const bool was_up = found->second.up;
  const bool left = found->second.leaving || draining_;
  tunnels_.erase(found);
  if (was_up) {
    last_error_ = left ? "" : fmt::format("{}: {}", why.code, why.text);
    const LogFields fields{{"server", server_.name}, {"tunnel", id}, {"code", why.code}, {"text", why.text}};
    if (left) {
      around_.log.info("tunnel.down", fields);
    } else {
      around_.log.warn("tunnel.down", fields);
    }
  } else {
    note_failure(why);
  }
  // The last one is gone: what comes now replaces whatever the server still believes in. Not before: a tunnel that
  // drains has streams, and one that is being dialled has said the old epoch already.
  if (tunnels_.empty() && std::exchange(was_up_, false)) {
    ++epoch_;
    wanted_ = server_.tunnels_min;  // The next way may be another one.
  }
  changed_.notify();
}

void ServerLink::drain() {
  if (std::exchange(draining_, true)) return;
  for (const auto& [id, known] : tunnels_) {
    around_.directory.remove(server_.name, id);
    DataPlane& plane = around_.planes.plane(known.plane);
    plane.worker().post([&plane, id] {
      if (Tunnel* tunnel = plane.find_tunnel(id)) tunnel->drain(Reason::shutdown, std::chrono::milliseconds(0));
    });
  }
  keepers_.request_stop();
}

void ServerLink::close_when_empty() {
  for (const auto& [id, known] : tunnels_) {
    DataPlane& plane = around_.planes.plane(known.plane);
    plane.worker().post([&plane, id] { agent::close_when_empty(plane, id); });
  }
}

void ServerLink::stop() {
  stopped_ = true;
  drain();
  for (const auto& [id, known] : tunnels_) {
    DataPlane& plane = around_.planes.plane(known.plane);
    plane.worker().post([&plane, id] {
      if (Tunnel* tunnel = plane.find_tunnel(id)) tunnel->close(Reason::shutdown, "the agent stops");
    });
  }
}

}  // namespace culvert::agent
