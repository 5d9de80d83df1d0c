// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/net/endpoint.hpp"
#include "common/net/task_group.hpp"
#include "server/kubernetes/endpoint_slice.hpp"
#include "server/kubernetes/informer.hpp"

namespace culvert::server {

/// Where streams to a port of a Service go.
struct ServiceTarget {
  std::uint16_t port = 0;  ///< The Service's; 0: it has no such port.
  /// Never a loopback or link-local address. nullopt: the Service's name is to be looked up in DNS.
  std::optional<std::vector<Endpoint>> endpoints;
  std::string why_not;  ///< Why there is no endpoint, for people.
  friend bool operator==(const ServiceTarget&, const ServiceTarget&) = default;
};
/// Finds a port of the Service by its number, or by its name if `port` is 0, and the endpoints behind it in `slices`:
/// the ready ones; if there is none, those that terminate and still serve. `service` is nullptr if it does not exist,
/// and `name` is for people. Pure but for the addresses of this host (is_outside()).
ServiceTarget target_of_service(std::string_view name, const ClusterService* service,
                                const std::vector<const EndpointSlice*>& slices, std::uint16_t port,
                                std::string_view port_name);

/// The cluster's Services and their endpoints, read from EndpointSlices. At home.
class ServiceEndpoints {
 public:
  /// `changed` is called with the Service's "namespace/name"; with "" once everything is known for the first time.
  /// `client` and `log` outlive it.
  ServiceEndpoints(ApiClient& client, Log& log, std::function<void(const std::string& service)> changed);

  /// `version` of discovery.k8s.io.
  void start(TaskGroup& tasks, const std::string& version);
  /// Both collections have been listed once.
  bool is_synced() const { return services_synced_ && slices_synced_; }

  /// target_of_service() of what the cluster has now.
  ServiceTarget find(const std::string& service, std::uint16_t port, const std::string& port_name) const;

 private:
  void put_service(const std::string& key, const boost::json::object& object);
  void put_slice(const std::string& key, const boost::json::object& object);
  void drop_slice(const std::string& key);
  void report(const std::string& service);
  void report_all();

  std::function<void(const std::string& service)> changed_;
  std::map<std::string, ClusterService> services_;
  std::map<std::string, EndpointSlice> slices_;
  std::map<std::string, std::set<std::string>> slices_of_;  ///< By Service.
  bool services_synced_ = false;
  bool slices_synced_ = false;
  Watch watch_services_;
  Watch watch_slices_;
};

}  // namespace culvert::server
