// SPDX-License-Identifier: Apache-2.0
#include "agent/server_link.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

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
constexpr std::string_view wrong_replica_code = "tunnel.wrong_replica";

// SPEC 8.5: how soon after wrong_replica.
constexpr std::chrono::milliseconds quick_pause_min{10};
constexpr std::chrono::milliseconds quick_pause_max{50};
constexpr std::chrono::milliseconds slow_pause_first{120};
constexpr int slow_pause_growth = 2;
constexpr std::chrono::milliseconds lost_pause{30'000};

std::function<double()> chance() {
  return [source = std::minstd_rand(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<>(0, 1)(source);
  };
}

std::chrono::milliseconds between(std::chrono::milliseconds least, std::chrono::milliseconds most) {
  return least +
         std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>((most - least).count()) * chance()()));
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

ServerLink::ServerLink(const LinkSurroundings& surroundings, Server server, TlsContext tls, std::string replica,
                       std::function<void()> on_news)
    : around_(surroundings),
      server_(std::move(server)),
      tls_(std::move(tls)),
      dialer_(around_.planes.home().context().get_executor()),
      replica_(std::move(replica)),
      on_news_(std::move(on_news)),
      wanted_(server_.tunnels_min),
      changed_(around_.planes.home().context().get_executor()),
      keepers_(around_.planes.home().context().get_executor(), report_defect(around_.log, "link " + server_.name)) {}

ServerLink::~ServerLink() = default;

void ServerLink::succeed(const ServerLink& older) {
  if (older.epoch_ < epoch_) return;
  if (older.epoch_ > epoch_) foreign_slots_.clear();
  epoch_ = older.epoch_;
  for (const auto& [id, known] : older.tunnels_) foreign_slots_.insert(known.slot);
}

void ServerLink::start() {
  spawn_keepers();
}

void ServerLink::spawn_keepers() {
  for (; keeping_ < keepers_wanted() && !draining_; ++keeping_) keepers_.spawn(keep());
}

/// The first tunnel tells which replica the others are to reach, and whether it is there at all.
std::uint32_t ServerLink::keepers_wanted() const {
  return tunnels_up() == 0 ? 1 : wanted_;
}

/// One keeper's life: dial, live, dial again, while as many are wanted.
boost::asio::awaitable<void> ServerLink::keep() {
  Backoff backoff(chance());
  std::chrono::milliseconds delay{0};
  while (!draining_) {
    if (keeping_ > keepers_wanted()) {
      --keeping_;
      co_return;
    }
    if (delay.count() > 0) co_await pause(delay);
    auto dialed = co_await reach();
    if (draining_) co_return;
    Result<TunnelId> begun = dialed ? begin(std::move(*dialed)) : std::unexpected(dialed.error());
    if (!begun) {
      note_failure(begun.error());
      delay = backoff.next_delay(std::chrono::steady_clock::now());
      continue;
    }
    bool was_up = false;
    for (auto it = tunnels_.find(*begun); it != tunnels_.end() && !it->second.leaving; it = tunnels_.find(*begun)) {
      if (it->second.up && !std::exchange(was_up, true)) backoff.up(std::chrono::steady_clock::now());
      co_await changed_.wait();
    }
    if (const auto it = tunnels_.find(*begun); it != tunnels_.end()) {
      // Make before break: the old one lives on until its streams have ended.
      delay = between(std::chrono::milliseconds(0), it->second.leave_within);
    } else if (missed_.erase(*begun) > 0) {
      delay = pause_after_miss();
    } else {
      delay = backoff.next_delay(std::chrono::steady_clock::now());
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
  setup.session.hello.wanted_replica = replica_;
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
  std::set<std::uint32_t> taken = foreign_slots_;
  for (const auto& [id, known] : tunnels_) taken.insert(known.slot);
  std::uint32_t slot = 0;
  while (taken.contains(slot)) ++slot;
  return slot;
}

/// A server that stays away makes one line per kind of failure, not one per try.
void ServerLink::note_failure(const Error& error) {
  last_error_ = fmt::format("{}: {}", error.code, error.text);
  if (error.code == std::exchange(last_code_, error.code)) return;
  around_.log.warn("server.unreachable",
                   {{"server", server_.name}, {"replica", replica_}, {"code", error.code}, {"text", error.text}});
}

/// After the quick tries, each twice as long as the one before.
std::chrono::milliseconds ServerLink::slow_pause() const {
  std::chrono::milliseconds time = slow_pause_first;
  for (std::uint32_t i = quick_tries_max_; i < misses_ && time < lost_pause; ++i) time *= slow_pause_growth;
  return std::min(time, lost_pause);
}

/// By chance, or two links before a balancer that takes turns would miss each other again and again.
std::chrono::milliseconds ServerLink::pause_after_miss() const {
  if (!has_given_up()) return between(quick_pause_min, quick_pause_max);
  const auto slow = slow_pause();
  return slow < lost_pause ? between(slow / 2, slow) : between(slow, slow * 5 / 4);
}

/// Another replica answered. It is a matter of chance who does, so one line tells once that went wrong often enough.
void ServerLink::note_miss(const Error& error) {
  last_error_ = fmt::format("{}: {}", error.code, error.text);
  ++misses_;
  if (slow_pause() < lost_pause || std::exchange(lost_told_, true)) return;
  around_.log.warn("replica.unreachable", {{"server", server_.name},
                                           {"replica", replica_},
                                           {"tries", misses_},
                                           {"hint", "other replicas answer each time; it is tried every 30 s"}});
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

// ---- news of tunnels, at home

void ServerLink::welcomed(const Arrival& arrival) {
  const auto found = tunnels_.find(arrival.id);
  if (found == tunnels_.end()) return;
  Known& known = found->second;
  if (arrival.replica != replica_ && (!replica_.empty() || tunnels_up() > 0)) {
    return at(arrival.id, known, [](Tunnel& tunnel) { tunnel.close(Reason::wrong_replica, "not the wanted replica"); });
  }
  replica_ = arrival.replica;
  replicas_ = arrival.replicas.empty() ? std::vector{replica_} : arrival.replicas;
  known.up = was_up_ = true;
  misses_ = 0;
  lost_told_ = false;
  last_code_.clear();
  last_error_.clear();
  around_.log.info("tunnel.up",
                   {{"server", server_.name}, {"replica", replica_}, {"peer", arrival.peer}, {"tunnel", arrival.id}});
  // A handshake of TLS also takes what a busy machine takes, so it counts only where TCP ends before the server.
  const auto round_trip = known.through_proxy ? arrival.tls_round_trip : arrival.tcp_round_trip;
  if (round_trip >= server_.far_round_trip) wanted_ = server_.tunnels_max;
  spawn_keepers();
  tell_news();
}

void ServerLink::hear_replicas() {
  telling_ = false;
  replicas_ = *told_.get();
  if (replicas_.empty()) replicas_.emplace_back();  // A server without a name.
  tell_news();
}

/// To the keepers and to the owner.
void ServerLink::tell_news() {
  changed_.notify();
  if (!draining_) on_news_();
}

/// One more. Every tunnel of the link may say that it is congested, so not more than one within a second.
void ServerLink::widen() {
  const auto now = std::chrono::steady_clock::now();
  if (draining_ || wanted_ >= server_.tunnels_max || now - widened_ < widen_pause) return;
  widened_ = now;
  ++wanted_;
  around_.log.info("link.widened", {{"server", server_.name}, {"replica", replica_}, {"tunnels", wanted_}});
  spawn_keepers();
}

void ServerLink::draining(TunnelId id, std::chrono::milliseconds delay) {
  const auto found = tunnels_.find(id);
  if (found == tunnels_.end() || std::exchange(found->second.leaving, true)) return;
  found->second.leave_within = delay;
  around_.log.info("tunnel.draining",
                   {{"server", server_.name}, {"replica", replica_}, {"tunnel", id}, {"delay_ms", delay.count()}});
  tell_news();
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
    const LogFields fields{
        {"server", server_.name}, {"replica", replica_}, {"tunnel", id}, {"code", why.code}, {"text", why.text}};
    if (left) {
      around_.log.info("tunnel.down", fields);
    } else {
      around_.log.warn("tunnel.down", fields);
    }
  } else if (why.code == wrong_replica_code) {
    missed_.insert(id);
    note_miss(why);
  } else {
    note_failure(why);
  }
  // The last one is gone: what comes now replaces whatever the server still believes in. Not before: a tunnel that
  // drains has streams, and one that is being dialled has said the old epoch already.
  if (tunnels_.empty() && std::exchange(was_up_, false)) {
    ++epoch_;
    foreign_slots_.clear();
    wanted_ = server_.tunnels_min;  // The next way may be another one.
  }
  tell_news();
}

/// Runs `task` on the tunnel's worker, if it lives until then.
void ServerLink::at(TunnelId id, const Known& known, std::function<void(Tunnel&)> task) {
  DataPlane& plane = around_.planes.plane(known.plane);
  plane.worker().post([&plane, id, task = std::move(task)] {
    if (Tunnel* tunnel = plane.find_tunnel(id)) task(*tunnel);
  });
}

void ServerLink::drain() {
  if (std::exchange(draining_, true)) return;
  for (const auto& [id, known] : tunnels_) {
    around_.directory.remove(server_.name, id);
    at(id, known, [](Tunnel& tunnel) { tunnel.drain(Reason::shutdown, std::chrono::milliseconds(0)); });
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
  drain();
  for (const auto& [id, known] : tunnels_) {
    at(id, known, [](Tunnel& tunnel) { tunnel.close(Reason::shutdown, "the agent stops"); });
  }
}

}  // namespace culvert::agent
