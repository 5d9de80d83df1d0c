// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/local_ports.hpp"

#include <set>
#include <utility>

#include <fmt/core.h>

namespace culvert {

Result<LocalPorts::Staged> LocalPorts::stage(std::vector<LocalPort::Settings> wanted) {
  Staged staged;
  for (const LocalPort::Settings& settings : wanted) {
    const std::string address = to_string(settings.port.listen);
    if (ports_.contains(address)) continue;
    auto port = LocalPort::open(planes_, directory_, log_, settings, inherited_);
    if (!port) return fail(port.error().code, fmt::format("{}: {}", settings.name, port.error().text));
    staged.opened.emplace(address, std::move(*port));
  }
  staged.wanted = std::move(wanted);
  return staged;
}

void LocalPorts::commit(Staged staged) {
  std::set<std::string> kept;
  for (LocalPort::Settings& settings : staged.wanted) {
    const std::string address = to_string(settings.port.listen);
    kept.insert(address);
    if (const auto found = ports_.find(address); found != ports_.end()) found->second->change(std::move(settings));
  }
  std::erase_if(ports_, [&kept](const auto& port) { return !kept.contains(port.first); });
  ports_.merge(staged.opened);
}

std::vector<LocalPorts::Status> LocalPorts::status() const {
  std::vector<Status> all;
  all.reserve(ports_.size());
  for (const auto& [address, port] : ports_) all.push_back({port->settings().name, address, port->connections()});
  return all;
}

}  // namespace culvert
