// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_endpoints.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/net/outside.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

ServiceTarget nowhere(std::uint16_t port, std::string why_not) {
  return {port, std::vector<Endpoint>(), std::move(why_not)};
}

}  // namespace

ServiceEndpoints::ServiceEndpoints(ApiClient& client, Log& log, std::function<void(const std::string& service)> changed)
    : changed_(std::move(changed)),
      watch_services_(
          client, log,
          {.is_there = [this](const std::string& key, const json::object& object) { put_service(key, object); },
           .is_gone =
               [this](const std::string& key) {
                 services_.erase(key);
                 report(key);
               },
           .synced =
               [this] {
                 if (!std::exchange(services_synced_, true)) report_all();
               }}),
      watch_slices_(client, log,
                    {.is_there = [this](const std::string& key, const json::object& object) { put_slice(key, object); },
                     .is_gone = [this](const std::string& key) { drop_slice(key); },
                     .synced =
                         [this] {
                           if (!std::exchange(slices_synced_, true)) report_all();
                         }}) {}

void ServiceEndpoints::start(TaskGroup& tasks, const std::string& version) {
  tasks.spawn(watch_services_.run("/api/v1/services"));
  tasks.spawn(watch_slices_.run(fmt::format("/apis/discovery.k8s.io/{}/endpointslices", version)));
}

void ServiceEndpoints::put_service(const std::string& key, const json::object& object) {
  ClusterService service = read_service(object);
  const auto [found, is_new] = services_.try_emplace(key);
  if (!is_new && found->second == service) return;
  found->second = std::move(service);
  report(key);
}

void ServiceEndpoints::put_slice(const std::string& key, const json::object& object) {
  EndpointSlice slice = read_endpoint_slice(object);
  const auto found = slices_.find(key);
  if (found != slices_.end() && found->second == slice) return;
  if (found != slices_.end() && found->second.service != slice.service) drop_slice(key);
  const std::string service = slice.service;
  slices_of_[service].insert(key);
  slices_.insert_or_assign(key, std::move(slice));
  report(service);
}

void ServiceEndpoints::drop_slice(const std::string& key) {
  const auto found = slices_.find(key);
  if (found == slices_.end()) return;
  const std::string service = found->second.service;
  slices_.erase(found);
  if (auto& left = slices_of_[service]; left.erase(key) > 0 && left.empty()) slices_of_.erase(service);
  report(service);
}

void ServiceEndpoints::report(const std::string& service) {
  if (is_synced()) changed_(service);
}

void ServiceEndpoints::report_all() {
  if (!is_synced()) return;
  for (const auto& [name, service] : services_) changed_(name);
  changed_("");
}

ServiceTarget ServiceEndpoints::find(const std::string& service, std::uint16_t port,
                                     const std::string& port_name) const {
  if (!is_synced()) return nowhere(port, "the cluster's EndpointSlices have not come yet");
  const auto known = services_.find(service);
  std::vector<const EndpointSlice*> slices;
  if (const auto found = slices_of_.find(service); found != slices_of_.end()) {
    for (const std::string& key : found->second) slices.push_back(&slices_.at(key));
  }
  return target_of_service(service, known == services_.end() ? nullptr : &known->second, slices, port, port_name);
}

ServiceTarget target_of_service(std::string_view name, const ClusterService* service,
                                const std::vector<const EndpointSlice*>& slices, std::uint16_t port,
                                std::string_view port_name) {
  if (service == nullptr) return nowhere(port, fmt::format("there is no Service {}", name));
  const auto wanted = std::ranges::find_if(
      service->ports, [&](const NamedPort& each) { return port != 0 ? each.port == port : each.name == port_name; });
  const bool has_port = wanted != service->ports.end();
  // Such a Service leads to every port of its name, and need not list any.
  if (service->is_external_name && (has_port || port != 0)) return {has_port ? wanted->port : port, std::nullopt, {}};
  if (!has_port) {
    return nowhere(
        port, fmt::format("the Service has no TCP port {}", port != 0 ? std::to_string(port) : std::string(port_name)));
  }
  std::set<std::pair<boost::asio::ip::address, std::uint16_t>> ready;  // Slices may overlap.
  std::set<std::pair<boost::asio::ip::address, std::uint16_t>> leaving;
  for (const EndpointSlice* slice : slices) {
    const auto at = std::ranges::find(slice->ports, wanted->name, &NamedPort::name);
    if (at == slice->ports.end()) continue;
    for (const EndpointSlice::Endpoint& each : slice->endpoints) {
      if ((each.is_ready || each.is_leaving) && is_outside(each.address))
        (each.is_ready ? ready : leaving).emplace(each.address, at->port);
    }
  }
  const auto& usable = ready.empty() ? leaving : ready;
  if (usable.empty()) return nowhere(wanted->port, "the Service has no ready endpoint");
  std::vector<Endpoint> endpoints;
  endpoints.reserve(usable.size());
  for (const auto& [address, at] : usable) endpoints.push_back({address.to_string(), at});
  return {wanted->port, std::move(endpoints), {}};
}

}  // namespace culvert::server
