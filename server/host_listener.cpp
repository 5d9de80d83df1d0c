// SPDX-License-Identifier: Apache-2.0
#include "server/host_listener.hpp"

#include <utility>

#include "common/base/quota.hpp"
#include "common/base/snapshot.hpp"
#include "server/proxy_door.hpp"

namespace culvert::server {

/// Outlives the listener as long as a connection of it does.
struct HostListener::Shared {
  Shared(DataPlanes& planes, const TunnelDirectory& directory, Log& log, Settings first)
      : settings(std::make_shared<const Settings>(std::move(first))), around{planes, directory, log, {}} {}

  Snapshot<Settings> settings;
  ProxySurroundings around;  ///< Nothing is asked for: the route is that of the port.
};

HostListener::HostListener(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

HostListener::~HostListener() = default;

Result<std::unique_ptr<HostListener>> HostListener::open(DataPlanes& planes, const TunnelDirectory& directory, Log& log,
                                                         Settings settings) {
  const Endpoint listen = settings.port.listen;
  const std::string name = settings.name;
  auto shared = std::make_shared<Shared>(planes, directory, log, std::move(settings));
  auto listener =
      open_door(listen, {.name = name,
                         .around = std::shared_ptr<const ProxySurroundings>(shared, &shared->around),
                         .connections = std::make_shared<Quota>(),
                         .rules = [shared]() -> ProxyDoor::Rules {
                           const auto now = shared->settings.get();
                           return {now->port.connections_max, ProxyClient::Inside{now->virtual_host, now->route}};
                         },
                         .allows =
                             [shared](const boost::asio::ip::address& source) {
                               return shared->settings.get()->port.allow_from.allows(source);
                             }});
  if (!listener) return std::unexpected(listener.error());
  std::unique_ptr<HostListener> opened(new HostListener(std::move(shared)));
  opened->listener_ = std::move(*listener);
  return opened;
}

void HostListener::change(Settings settings) {
  shared_->settings.publish(std::make_shared<const Settings>(std::move(settings)));
}

}  // namespace culvert::server
