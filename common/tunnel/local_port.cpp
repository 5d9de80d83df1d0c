// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/local_port.hpp"

#include <chrono>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/core.h>

#include "common/net/socket_address.hpp"
#include "common/net/socket_options.hpp"

namespace culvert {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t attempts_max = 3;
constexpr auto first_tunnel_patience = 5s;
constexpr auto first_tunnel_poll = 20ms;

std::string text_of(const boost::asio::ip::tcp::endpoint& peer) {
  return to_string(Endpoint{peer.address().to_string(), peer.port()});
}

}  // namespace

/// Outlives the port as long as a connection of it does. What the functions post or keep holds it, so they take it by
/// its pointer.
struct LocalPort::Shared {
  using Self = std::shared_ptr<Shared>;

  Shared(DataPlanes& all_planes, TunnelDirectory& tunnels, Log& program_log, Settings first)
      : planes(all_planes),
        directory(tunnels),
        log(program_log),
        settings(std::make_shared<const Settings>(std::move(first))) {}

  static void take(const Self& self, DataPlane& plane, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer);
  static void place(const Self& self, DataPlane& plane, OpenAttempt attempt);
  static void place_here(const Self& self, DataPlane& plane, TunnelId id, OpenAttempt attempt);
  static void place_later(const Self& self, DataPlane& plane, OpenAttempt attempt);
  void give_up(OpenAttempt attempt, std::string_view reason, std::string_view text);

  DataPlanes& planes;
  TunnelDirectory& directory;
  Log& log;
  Snapshot<Settings> settings;
  const Clock::time_point patient_until = Clock::now() + first_tunnel_patience;
  std::shared_ptr<Quota> connections = std::make_shared<Quota>();
};

void LocalPort::Shared::take(const Self& self, DataPlane& plane, UniqueFd socket,
                             const boost::asio::ip::tcp::endpoint& peer) {
  const auto now = self->settings.get();
  OpenAttempt attempt;
  attempt.place = Quota::take(self->connections, now->port.connections_max);
  if (!attempt.place) {
    reset_on_close(socket.get());
    self->log.limited(Log::Level::warn, "port.full",
                      {{"port", now->name},
                       {"peer", text_of(peer)},
                       {"hint", "all of connections_max are open; raise it, or find who holds them"}});
    return;
  }
  attempt.socket = std::move(socket);
  attempt.open = now->open;
  attempt.on_rejected = [self](DataPlane& there, OpenAttempt refused, const protocol::Reject& reject) {
    if (reject.retryable && refused.tried.size() < attempts_max) {
      place(self, there, std::move(refused));
    } else {
      self->give_up(std::move(refused), protocol::to_string(reject.reason), reject.text);
    }
  };
  place(self, plane, std::move(attempt));
}

void LocalPort::Shared::place(const Self& self, DataPlane& plane, OpenAttempt attempt) {
  const auto now = self->settings.get();
  const auto entry = self->directory.pick(now->key, plane.worker().index(), attempt.tried);
  if (!entry && attempt.tried.empty() && Clock::now() < self->patient_until)
    return place_later(self, plane, std::move(attempt));
  if (!entry) {
    const std::string text = attempt.tried.empty()
                                 ? fmt::format("no tunnel to {} stands; status tells more", now->far_end)
                                 : std::string("every tunnel refused");
    return self->give_up(std::move(attempt), "no_tunnel", text);
  }
  if (entry->plane == plane.worker().index()) return place_here(self, plane, entry->id, std::move(attempt));
  // The socket moves once, before its first relayed byte.
  DataPlane& there = self->planes.plane(entry->plane);
  auto moved = std::make_shared<OpenAttempt>(std::move(attempt));
  there.worker().post([self, &there, id = entry->id, moved] { place_here(self, there, id, std::move(*moved)); });
}

void LocalPort::Shared::place_here(const Self& self, DataPlane& plane, TunnelId id, OpenAttempt attempt) {
  Tunnel* tunnel = plane.find_tunnel(id);
  if (tunnel != nullptr && Relay::open(*tunnel, attempt)) return;
  // It ended or began to drain since it was picked.
  attempt.tried.push_back(id);
  place(self, plane, std::move(attempt));
}

void LocalPort::Shared::place_later(const Self& self, DataPlane& plane, OpenAttempt attempt) {
  auto timer = std::make_shared<boost::asio::steady_timer>(plane.worker().context(), first_tunnel_poll);
  auto waiting = std::make_shared<OpenAttempt>(std::move(attempt));
  timer->async_wait(
      [self, &plane, timer, waiting](const boost::system::error_code&) { place(self, plane, std::move(*waiting)); });
}

void LocalPort::Shared::give_up(OpenAttempt attempt, std::string_view reason, std::string_view text) {
  // A connection that never reached its target must not look like one that ended well.
  reset_on_close(attempt.socket.get());
  log.limited(Log::Level::warn, "stream.refused", {{"port", settings.get()->name}, {"reason", reason}, {"text", text}});
}

LocalPort::LocalPort(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

LocalPort::~LocalPort() = default;

Result<std::unique_ptr<LocalPort>> LocalPort::open(DataPlanes& planes, TunnelDirectory& directory, Log& log,
                                                   Settings settings, InheritedSockets* inherited) {
  const auto local = address_to_listen(settings.port.listen);
  if (!local) return fail(local.error().code, settings.name + ": " + local.error().text);

  auto shared = std::make_shared<Shared>(planes, directory, log, std::move(settings));
  ListenerEvents events;
  events.on_accept = [shared](Worker& worker, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
    Shared::take(shared, shared->planes.plane(worker.index()), std::move(socket), peer);
  };
  events.on_refused = [shared](Worker&, const boost::asio::ip::tcp::endpoint& peer) {
    shared->log.limited(Log::Level::warn, "port.not_allowed",
                        {{"port", shared->settings.get()->name},
                         {"peer", text_of(peer)},
                         {"hint", "allow_from does not name this address"}});
  };
  events.on_exhausted = [shared](Worker&, std::uint64_t times) {
    shared->log.error("port.exhausted", {{"port", shared->settings.get()->name},
                                         {"times", times},
                                         {"hint", "out of descriptors or memory: raise LimitNOFILE"}});
  };
  const auto workers = planes.workers();
  auto listener = Listener::open(
      *local, workers, std::move(events),
      [shared](const boost::asio::ip::address& source) {
        return shared->settings.get()->port.allow_from.allows(source);
      },
      inherited != nullptr ? inherited->find(*local) : UniqueFd());
  if (!listener) return std::unexpected(listener.error());
  std::unique_ptr<LocalPort> port(new LocalPort(std::move(shared)));
  port->listener_ = std::move(*listener);
  return port;
}

void LocalPort::change(Settings settings) {
  shared_->settings.publish(std::make_shared<const Settings>(std::move(settings)));
}

LocalPort::Settings LocalPort::settings() const {
  return *shared_->settings.get();
}

std::uint32_t LocalPort::connections() const {
  return shared_->connections->taken();
}

}  // namespace culvert
