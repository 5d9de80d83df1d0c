// SPDX-License-Identifier: Apache-2.0
#include "server/proxy_door.hpp"

#include <utility>

#include <boost/asio/ip/tcp.hpp>

#include "common/net/socket_address.hpp"
#include "common/net/socket_options.hpp"

namespace culvert::server {

Result<std::unique_ptr<Listener>> open_door(const Endpoint& listen, ProxyDoor door) {
  const auto local = address_to_listen(listen);
  if (!local) return fail(local.error().code, door.name + ".listen: " + local.error().text);
  const auto shared = std::make_shared<const ProxyDoor>(std::move(door));
  ListenerEvents events;
  events.on_accept = [shared](Worker& worker, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
    ProxyDoor::Rules rules = shared->rules();
    auto place = Quota::take(shared->connections, rules.connections_max);
    if (!place) {
      reset_on_close(socket.get());
      shared->around->log.limited(Log::Level::warn, "port.full",
                                  {{"port", shared->name}, {"hint", "all of connections_max are open"}});
      return;
    }
    ProxyClient::start(shared->around->planes.plane(worker.index()), {.around = shared->around,
                                                                      .socket = std::move(socket),
                                                                      .read_ahead = {},
                                                                      .source = peer.address(),
                                                                      .place = std::move(place),
                                                                      .tunnel = {},
                                                                      .tried = {},
                                                                      .inside = std::move(rules.inside)});
  };
  events.on_refused = [shared](Worker&, const boost::asio::ip::tcp::endpoint& peer) {
    shared->around->log.limited(Log::Level::warn, "port.not_allowed",
                                {{"port", shared->name},
                                 {"peer", peer.address().to_string()},
                                 {"hint", "allow_from does not name this address"}});
  };
  const auto workers = shared->around->planes.workers();
  auto listener = Listener::open(*local, workers, std::move(events), shared->allows);
  if (!listener) return fail(listener.error().code, shared->name + ": " + listener.error().text);
  return listener;
}

}  // namespace culvert::server
