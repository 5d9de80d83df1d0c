// SPDX-License-Identifier: Apache-2.0
#include "server/on_premise_ports.hpp"

#include <utility>

#include "server/virtual_listener.hpp"

namespace culvert::server {

namespace {

std::string name_of(const OnPremisePort& wanted) {
  return "on_premise_service " + wanted.name;
}

LocalPort::Settings local_port(const OnPremisePort& wanted, ListenSettings listen) {
  return port_of({std::move(listen), wanted.account, wanted.location, wanted.virtual_host}, name_of(wanted));
}

HostListener::Settings host_listener(const OnPremisePort& wanted, ListenSettings listen) {
  return {std::move(listen), wanted.virtual_host, {wanted.account, wanted.location}, name_of(wanted)};
}

}  // namespace

Result<OnPremisePorts::Open> OnPremisePorts::open(const OnPremisePort& wanted, const ListenSettings& listen) {
  Open opened{wanted.is_http, listen.listen, {}};
  if (wanted.is_http) {
    auto door = HostListener::open(planes_, directory_, log_, host_listener(wanted, listen));
    if (!door) return std::unexpected(door.error());
    opened.door = std::move(*door);
  } else {
    auto door = LocalPort::open(planes_, directory_, log_, local_port(wanted, listen));
    if (!door) return std::unexpected(door.error());
    opened.door = std::move(*door);
  }
  return opened;
}

void OnPremisePorts::change(const std::vector<OnPremisePort>& wanted, const ListenSettings& listen) {
  std::map<std::uint16_t, Open> kept;
  for (const OnPremisePort& each : wanted) {
    ListenSettings own = listen;
    own.listen.port = each.port;
    const auto standing = open_.find(each.port);
    if (standing != open_.end() && standing->second.is_http == each.is_http && standing->second.listen == own.listen) {
      if (each.is_http) {
        std::get<std::unique_ptr<HostListener>>(standing->second.door)->change(host_listener(each, own));
      } else {
        std::get<std::unique_ptr<LocalPort>>(standing->second.door)->change(local_port(each, own));
      }
      kept.insert(open_.extract(standing));
      continue;
    }
    if (standing != open_.end()) open_.erase(standing);  // Its place is needed.
    auto opened = open(each, own);
    if (!opened) {
      log_.limited(Log::Level::error, "on_premise_service.failed",
                   {{"object", each.name}, {"code", opened.error().code}, {"text", opened.error().text}});
      continue;
    }
    kept.emplace(each.port, std::move(*opened));
  }
  open_ = std::move(kept);
}

}  // namespace culvert::server
