// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/local_port.hpp"

#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <fmt/core.h>

#include "common/net/socket_options.hpp"

namespace culvert {

namespace {

constexpr std::size_t attempts_max = 3;

std::string text_of(const boost::asio::ip::tcp::endpoint& peer) {
  return to_string(Endpoint{peer.address().to_string(), peer.port()});
}

}  // namespace

/// Outlives the port as long as a connection of it does.
struct LocalPort::Shared : std::enable_shared_from_this<LocalPort::Shared> {
  Shared(DataPlanes& all_planes, TunnelDirectory& tunnels, Log& program_log, Settings first)
      : planes(all_planes), directory(tunnels), log(program_log), settings(std::make_shared<const Settings>(std::move(first))) {}

  void take(DataPlane& plane, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer);
  void place(DataPlane& plane, OpenAttempt attempt);
  void place_here(DataPlane& plane, TunnelId id, OpenAttempt attempt);
  void give_up(OpenAttempt attempt, std::string_view reason, std::string_view text);

  DataPlanes& planes;
  TunnelDirectory& directory;
  Log& log;
  Snapshot<Settings> settings;
  std::atomic<std::uint32_t> connections{0};
};

void LocalPort::Shared::take(DataPlane& plane, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
  const auto now = settings.get();
  if (connections.fetch_add(1) >= now->port.connections_max) {
    connections.fetch_sub(1);
    reset_on_close(socket.get());
    log.limited(Log::Level::warn, "port.full",
                {{"port", now->name}, {"peer", text_of(peer)}, {"hint", "all of connections_max are open; raise it, or find who holds them"}});
    return;
  }
  OpenAttempt attempt;
  attempt.socket = std::move(socket);
  attempt.open = now->open;
  attempt.place = std::shared_ptr<void>(nullptr, [self = shared_from_this()](void*) { self->connections.fetch_sub(1); });
  attempt.on_rejected = [self = shared_from_this()](DataPlane& there, OpenAttempt refused, const protocol::Reject& reject) {
    if (reject.retryable && refused.tried.size() < attempts_max) {
      self->place(there, std::move(refused));
    } else {
      self->give_up(std::move(refused), protocol::to_string(reject.reason), reject.text);
    }
  };
  place(plane, std::move(attempt));
}

void LocalPort::Shared::place(DataPlane& plane, OpenAttempt attempt) {
  const auto now = settings.get();
  const auto entry = directory.pick(now->key, plane.worker().index(), attempt.tried);
  if (!entry) {
    return give_up(std::move(attempt), "no_tunnel", attempt.tried.empty() ? fmt::format("no tunnel to {} stands; status tells more", now->far_end) : "every tunnel refused");
  }
  if (entry->plane == plane.worker().index()) return place_here(plane, entry->id, std::move(attempt));
  // The socket moves once, before its first relayed byte.
  DataPlane& there = planes.plane(entry->plane);
  there.worker().post([self = shared_from_this(), &there, id = entry->id, moved = std::make_shared<OpenAttempt>(std::move(attempt))] {
    self->place_here(there, id, std::move(*moved));
  });
}

void LocalPort::Shared::place_here(DataPlane& plane, TunnelId id, OpenAttempt attempt) {
  Tunnel* tunnel = plane.find_tunnel(id);
  if (tunnel != nullptr && Relay::open(*tunnel, attempt)) return;
  // It ended or began to drain since it was picked.
  attempt.tried.push_back(id);
  place(plane, std::move(attempt));
}

void LocalPort::Shared::give_up(OpenAttempt attempt, std::string_view reason, std::string_view text) {
  // A connection that never reached its target must not look like one that ended well.
  reset_on_close(attempt.socket.get());
  log.limited(Log::Level::warn, "stream.refused", {{"port", settings.get()->name}, {"reason", reason}, {"text", text}});
}

LocalPort::LocalPort(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

LocalPort::~LocalPort() = default;

Result<std::unique_ptr<LocalPort>> LocalPort::open(DataPlanes& planes, TunnelDirectory& directory, Log& log, Settings settings) {
  boost::system::error_code malformed;
  const std::string host = settings.port.listen.host == "localhost" ? "127.0.0.1" : settings.port.listen.host;
  const auto address = boost::asio::ip::make_address(host, malformed);
  if (malformed) return fail("listen.refused", fmt::format("{}: {} is no address of this machine; write an IP address", settings.name, host));

  auto shared = std::make_shared<Shared>(planes, directory, log, std::move(settings));
  ListenerEvents events;
  events.on_accept = [shared](Worker& worker, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
    shared->take(shared->planes.plane(worker.index()), std::move(socket), peer);
  };
  events.on_refused = [shared](Worker&, const boost::asio::ip::tcp::endpoint& peer) {
    shared->log.limited(Log::Level::warn, "port.not_allowed",
                        {{"port", shared->settings.get()->name}, {"peer", text_of(peer)}, {"hint", "allow_from does not name this address"}});
  };
  events.on_exhausted = [shared](Worker&, std::uint64_t times) {
    shared->log.error("port.exhausted", {{"port", shared->settings.get()->name}, {"times", times}, {"hint", "out of descriptors or memory: raise LimitNOFILE"}});
  };
  const auto workers = planes.workers();
  auto listener = Listener::open({address, shared->settings.get()->port.listen.port}, workers, std::move(events),
                                 [shared](const boost::asio::ip::address& source) { return shared->settings.get()->port.allow_from.allows(source); });
  if (!listener) return std::unexpected(listener.error());
  std::unique_ptr<LocalPort> port(new LocalPort(std::move(shared)));
  port->listener_ = std::move(*listener);
  return port;
}

void LocalPort::change(Settings settings) { shared_->settings.publish(std::make_shared<const Settings>(std::move(settings))); }

LocalPort::Settings LocalPort::settings() const { return *shared_->settings.get(); }

std::uint32_t LocalPort::connections() const { return shared_->connections.load(); }

}  // namespace culvert
