// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_endpoints.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/net/outside.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

ServiceEndpoints::ServiceEndpoints(ApiClient& client, Log& log, std::function<void(const std::string& service)> changed)
    : changed_(std::move(changed)),
      watch_services_(
          client, log,
          {.is_there = [this](const std::string& key, const json::object& object) { put_service(key, object); },
           .is_gone =
               [this](const std::string& key) {
                 services_.erase(key);
                 tell(key);
               },
           .synced =
               [this] {
                 if (!std::exchange(services_synced_, true)) tell_all();
               }}),
      watch_slices_(client, log,
                    {.is_there = [this](const std::string& key, const json::object& object) { put_slice(key, object); },
                     .is_gone = [this](const std::string& key) { drop_slice(key); },
                     .synced =
                         [this] {
                           if (!std::exchange(slices_synced_, true)) tell_all();
                         }}) {}

void ServiceEndpoints::start(TaskGroup& tasks, const std::string& version) {
  tasks.spawn(watch_services_.run("/api/v1/services"));
  tasks.spawn(watch_slices_.run(fmt::format("/apis/discovery.k8s.io/{}/endpointslices", version)));
}

void ServiceEndpoints::put_service(const std::string& key, const json::object& object) {
  auto ports = read_ports(object_at(object, "spec"));
  const auto [found, is_new] = services_.try_emplace(key);
  if (!is_new && found->second == ports) return;
  found->second = std::move(ports);
  tell(key);
}

void ServiceEndpoints::put_slice(const std::string& key, const json::object& object) {
  EndpointSlice slice = read_endpoint_slice(object);
  const auto found = slices_.find(key);
  if (found != slices_.end() && found->second == slice) return;
  if (found != slices_.end() && found->second.service != slice.service) drop_slice(key);
  const std::string service = slice.service;
  slices_of_[service].insert(key);
  slices_.insert_or_assign(key, std::move(slice));
  tell(service);
}

void ServiceEndpoints::drop_slice(const std::string& key) {
  const auto found = slices_.find(key);
  if (found == slices_.end()) return;
  const std::string service = found->second.service;
  slices_.erase(found);
  if (auto& left = slices_of_[service]; left.erase(key) > 0 && left.empty()) slices_of_.erase(service);
  tell(service);
}

void ServiceEndpoints::tell(const std::string& service) {
  if (is_synced()) changed_(service);
}

void ServiceEndpoints::tell_all() {
  if (!is_synced()) return;
  for (const auto& [service, ports] : services_) changed_(service);
  changed_("");
}

ServiceEndpoints::Found ServiceEndpoints::find(const std::string& service, std::uint16_t port,
                                               const std::string& port_name) const {
  if (!is_synced()) return {port, {}, "the cluster's EndpointSlices have not come yet"};
  const auto known = services_.find(service);
  if (known == services_.end()) return {port, {}, fmt::format("there is no Service {}", service)};
  const auto wanted = std::ranges::find_if(
      known->second, [&](const NamedPort& each) { return port != 0 ? each.port == port : each.name == port_name; });
  if (wanted == known->second.end()) {
    return {port, {}, fmt::format("the Service has no TCP port {}", port != 0 ? std::to_string(port) : port_name)};
  }
  Found found{wanted->port, {}, {}};
  std::set<std::pair<boost::asio::ip::address, std::uint16_t>> ready;  // Slices may overlap.
  const auto slices = slices_of_.find(service);
  for (const std::string& key : slices == slices_of_.end() ? std::set<std::string>() : slices->second) {
    const EndpointSlice& slice = slices_.at(key);
    const auto at = std::ranges::find(slice.ports, wanted->name, &NamedPort::name);
    if (at == slice.ports.end()) continue;
    for (const EndpointSlice::Endpoint& each : slice.endpoints) {
      if (each.is_ready && is_outside(each.address)) ready.emplace(each.address, at->port);
    }
  }
  for (const auto& [address, at] : ready) found.ready.push_back({address.to_string(), at});
  if (ready.empty()) found.why_not = "the Service has no ready endpoint";
  return found;
}

}  // namespace culvert::server
