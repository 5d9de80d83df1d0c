// SPDX-License-Identifier: Apache-2.0
#include "server/socks5_proxy.hpp"

#include <utility>

#include "common/base/quota.hpp"
#include "common/net/socket_address.hpp"
#include "common/net/socket_options.hpp"

namespace culvert::server {

Socks5Proxy::Socks5Proxy(std::shared_ptr<Socks5Surroundings> around) : around_(std::move(around)) {}

Socks5Proxy::~Socks5Proxy() {
  around_->desk.close();
}

Result<std::unique_ptr<Socks5Proxy>> Socks5Proxy::open(DataPlanes& planes, const TunnelDirectory& directory, Log& log,
                                                       Socks5Rules rules) {
  const auto local = address_to_listen(rules.settings.port.listen);
  if (!local) return fail(local.error().code, "socks5_proxy.listen: " + local.error().text);
  auto http = std::make_shared<const ProxySurroundings>(ProxySurroundings{planes, directory, log, {}});
  auto around = std::make_shared<Socks5Surroundings>(
      planes, directory, log, std::make_shared<const Socks5ProxySettings>(std::move(rules.settings)),
      std::move(rules.check_token), std::move(http));
  ListenerEvents events;
  events.on_accept = [around](Worker& worker, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
    auto place = Quota::take(around->connections, around->settings.get()->port.connections_max);
    if (!place) {
      reset_on_close(socket.get());
      around->log.limited(Log::Level::warn, "port.full",
                          {{"port", "socks5_proxy"}, {"hint", "all of connections_max are open"}});
      return;
    }
    Socks5Client::start(around->planes.plane(worker.index()), {.around = around,
                                                               .socket = std::move(socket),
                                                               .peer = peer,
                                                               .place = std::move(place),
                                                               .talk = {},
                                                               .route = {},
                                                               .tunnel = {},
                                                               .tried = {}});
  };
  events.on_refused = [around](Worker&, const boost::asio::ip::tcp::endpoint& peer) {
    around->log.limited(Log::Level::warn, "port.not_allowed",
                        {{"port", "socks5_proxy"},
                         {"peer", peer.address().to_string()},
                         {"hint", "allow_from does not name this address"}});
  };
  const auto workers = planes.workers();
  auto listener = Listener::open(*local, workers, std::move(events), [around](const boost::asio::ip::address& source) {
    return around->settings.get()->port.allow_from.allows(source);
  });
  if (!listener) return fail(listener.error().code, "socks5_proxy: " + listener.error().text);
  std::unique_ptr<Socks5Proxy> proxy(new Socks5Proxy(std::move(around)));
  proxy->listener_ = std::move(*listener);
  return proxy;
}

void Socks5Proxy::change(Socks5Rules rules) {
  around_->settings.publish(std::make_shared<const Socks5ProxySettings>(std::move(rules.settings)));
  around_->check_token.publish(std::make_shared<const CheckToken>(std::move(rules.check_token)));
}

Socks5ProxySettings Socks5Proxy::settings() const {
  return *around_->settings.get();
}

}  // namespace culvert::server
