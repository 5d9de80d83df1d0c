// SPDX-License-Identifier: Apache-2.0
#include "server/on_premise_ports.hpp"

#include <utility>

#include <fmt/core.h>

#include "server/agent_acceptor.hpp"

namespace culvert::server {

namespace {

LocalPort::Settings local_port(const OnPremisePort& wanted, ListenSettings listen) {
  LocalPort::Settings settings;
  settings.port = std::move(listen);
  settings.key = AgentAcceptor::key_of(wanted.account, wanted.location);
  settings.open.kind = protocol::Open::Kind::host;
  settings.open.name = wanted.virtual_host.host;
  settings.open.port = wanted.virtual_host.port;
  settings.name = "on_premise_service " + wanted.name;
  settings.far_end = fmt::format("an agent of account {}, {}", wanted.account,
                                 wanted.location.empty() ? "default location" : "location " + wanted.location);
  return settings;
}

HostListener::Settings host_listener(const OnPremisePort& wanted, ListenSettings listen) {
  return {
      std::move(listen), wanted.virtual_host, {wanted.account, wanted.location}, "on_premise_service " + wanted.name};
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
