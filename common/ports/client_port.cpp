// SPDX-License-Identifier: Apache-2.0
#include "common/ports/client_port.hpp"

#include <utility>
#include <vector>

#include "common/base/snapshot.hpp"
#include "common/net/socket_address.hpp"
#include "common/net/socket_options.hpp"

namespace culvert {

namespace {

using Clock = std::chrono::steady_clock;
using Peer = boost::asio::ip::tcp::endpoint;

std::string text_of(const Peer& peer) {
  return to_string(Endpoint{peer.address().to_string(), peer.port()});
}

}  // namespace

/// Shared with the workers, and outlives the port until none of them accepts any more.
struct ClientPort::Shared {
  Shared(DataPlanes& all_planes, Log& program_log, Settings first)
      : planes(all_planes), log(program_log), settings(std::make_shared<const Settings>(std::move(first))) {}

  void log_refusal(PortClients::Refusal refusal, const std::string& name, const Peer& peer);

  DataPlanes& planes;
  Log& log;
  Snapshot<Settings> settings;
  const Clock::time_point opened = Clock::now();
  std::shared_ptr<PortClients> clients = std::make_shared<PortClients>(planes.size());
};

/// Serves the connection if the limits allow it. If the port is full and somebody on another worker, or this one, waits
/// for its client, that one gives way, and the connection is served there.
void ClientPort::serve(const std::shared_ptr<Shared>& port, DataPlane& plane, UniqueFd socket, const Peer& peer,
                       WhenFull when_full) {
  const auto now = port->settings.get();
  auto connection = PortClients::take(port->clients, peer.address(),
                                      {now->port.connections_max, now->port.connections_per_source_max});
  if (connection)
    return now->serve(plane, {std::move(socket), peer, std::move(*connection), port->clients, port->opened});
  port->log_refusal(connection.error(), now->name, peer);
  const auto worker = port->clients->worker_of_longest();
  if (connection.error() != PortClients::Refusal::full || !worker || when_full == WhenFull::refuse)
    return reset_on_close(socket.get());
  DataPlane& there = port->planes.plane(*worker);
  there.worker().post([port, &there, peer, socket = std::move(socket)]() mutable {
    ClientConnection* const longest = port->clients->waiting(there.worker().index()).longest();
    if (longest != nullptr) longest->give_way();
    serve(port, there, std::move(socket), peer, WhenFull::refuse);
  });
}

void ClientPort::Shared::log_refusal(PortClients::Refusal refusal, const std::string& name, const Peer& peer) {
  if (refusal == PortClients::Refusal::full) {
    log.limited(Log::Level::warn, "port.full",
                {{"port", name},
                 {"peer", text_of(peer)},
                 {"hint", "all of connections_max are open; raise it, or find the clients that hold them"}});
  } else {
    log.limited(Log::Level::warn, "port.source_full",
                {{"port", name},
                 {"peer", text_of(peer)},
                 {"hint", "all of connections_per_source_max are open; raise it if many clients share this address"}});
  }
}

ClientPort::ClientPort(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

ClientPort::~ClientPort() = default;

Result<std::unique_ptr<ClientPort>> ClientPort::open(DataPlanes& planes, Log& log, Settings settings,
                                                     InheritedSockets* inherited,
                                                     std::span<const ClientPort* const> leaving) {
  const auto local = address_to_listen(settings.port.listen);
  if (!local) return std::unexpected(local.error());

  auto shared = std::make_shared<Shared>(planes, log, std::move(settings));
  ListenerEvents events;
  events.on_accept = [shared](Worker& worker, UniqueFd socket, const Peer& peer) {
    serve(shared, shared->planes.plane(worker.index()), std::move(socket), peer, WhenFull::make_room);
  };
  events.on_refused = [shared](Worker&, const Peer& peer) {
    shared->log.limited(Log::Level::warn, "port.not_allowed",
                        {{"port", shared->settings.get()->name},
                         {"peer", text_of(peer)},
                         {"hint", "allow_from does not include this address"}});
  };
  events.on_exhausted = [shared](Worker&, std::uint64_t times) {
    shared->log.error("port.exhausted", {{"port", shared->settings.get()->name},
                                         {"times", times},
                                         {"hint", "out of descriptors or memory: raise LimitNOFILE"}});
  };
  const auto workers = planes.workers();
  std::vector<const Listener*> leaving_listeners;
  leaving_listeners.reserve(leaving.size());
  for (const ClientPort* each : leaving) leaving_listeners.push_back(each->listener_.get());
  auto listener = Listener::open(
      *local, workers, std::move(events),
      [shared](const boost::asio::ip::address& source) {
        return shared->settings.get()->port.allow_from.allows(source);
      },
      inherited != nullptr ? inherited->find(*local) : UniqueFd(), leaving_listeners);
  if (!listener) return std::unexpected(listener.error());
  std::unique_ptr<ClientPort> port(new ClientPort(std::move(shared)));
  port->listener_ = std::move(*listener);
  return port;
}

void ClientPort::change(Settings settings) {
  shared_->settings.publish(std::make_shared<const Settings>(std::move(settings)));
}

std::string ClientPort::name() const {
  return shared_->settings.get()->name;
}

std::string_view ClientPort::group() const {
  return shared_->settings.get()->group;
}

std::uint32_t ClientPort::connections() const {
  return shared_->clients->taken();
}

}  // namespace culvert
