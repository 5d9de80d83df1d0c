// SPDX-License-Identifier: Apache-2.0
#include "common/ports/client_ports.hpp"

#include <set>
#include <utility>

#include <boost/json/object.hpp>
#include <fmt/core.h>

namespace culvert {

namespace {

std::set<std::string> addresses_of(const std::vector<ClientPort::Settings>& ports) {
  std::set<std::string> all;
  for (const ClientPort::Settings& each : ports) all.insert(to_string(each.port.listen));
  return all;
}

}  // namespace

/// `wanted` are the addresses of all ports that are to be open.
Result<void> ClientPorts::open(const ClientPort::Settings& settings, const std::set<std::string>& wanted,
                               Staged& staged) {
  const std::string address = to_string(settings.port.listen);
  if (ports_.contains(address)) return {};
  std::vector<const ClientPort*> leaving;
  for (const auto& [other, port] : ports_) {
    if (!wanted.contains(other) && port->local_endpoint().port() == settings.port.listen.port)
      leaving.push_back(port.get());
  }
  auto port = ClientPort::open(planes_, log_, settings, inherited_, leaving);
  if (!port) return std::unexpected(port.error());
  staged.opened.emplace(address, std::move(*port));
  return {};
}

Result<ClientPorts::Staged> ClientPorts::stage(std::vector<ClientPort::Settings> wanted) {
  Staged staged;
  const auto addresses = addresses_of(wanted);
  for (const ClientPort::Settings& settings : wanted) {
    if (auto opened = open(settings, addresses, staged); !opened)
      return fail(opened.error().code, fmt::format("{}: {}", settings.name, opened.error().text));
  }
  staged.wanted = std::move(wanted);
  return staged;
}

void ClientPorts::commit(Staged staged) {
  std::set<std::string> kept;
  for (ClientPort::Settings& settings : staged.wanted) {
    const std::string address = to_string(settings.port.listen);
    kept.insert(address);
    if (const auto found = ports_.find(address); found != ports_.end()) found->second->change(std::move(settings));
  }
  std::erase_if(ports_, [&kept](const auto& port) { return !kept.contains(port.first); });
  for (const auto& [address, port] : staged.opened) port->start();
  ports_.merge(staged.opened);
}

void ClientPorts::change_each(std::vector<ClientPort::Settings> wanted,
                              const std::function<void(const std::string&, const Error&)>& on_failed) {
  Staged staged;
  const auto addresses = addresses_of(wanted);
  for (ClientPort::Settings& settings : wanted) {
    if (auto opened = open(settings, addresses, staged); opened) {
      staged.wanted.push_back(std::move(settings));
    } else {
      on_failed(settings.name, opened.error());
    }
  }
  commit(std::move(staged));
}

boost::json::array ClientPorts::status(std::string_view group) const {
  boost::json::array all;
  for (const auto& [address, port] : ports_) {
    if (port->group() == group)
      all.push_back({{"name", port->name()}, {"listen", address}, {"connections", port->connections()}});
  }
  return all;
}

}  // namespace culvert
