// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/net/endpoint.hpp"
#include "common/net/task_group.hpp"
#include "server/kubernetes/endpoint_slice.hpp"
#include "server/kubernetes/informer.hpp"

namespace culvert::server {

/// The cluster's Services and what stands ready behind them, as EndpointSlices tell. At home.
class ServiceEndpoints {
 public:
  /// `changed` names the Service, "namespace/name"; "" once all is known for the first time. Both outlive it.
  ServiceEndpoints(ApiClient& client, Log& log, std::function<void(const std::string& service)> changed);

  /// `version` of discovery.k8s.io.
  void start(TaskGroup& tasks, const std::string& version);
  /// Both lists have come.
  bool is_synced() const { return services_synced_ && slices_synced_; }

  struct Found {
    std::uint16_t port = 0;       ///< Of the Service; 0: there is none such.
    std::vector<Endpoint> ready;  ///< Never one of this host or its link.
    std::string why_not;          ///< Where `ready` is empty.
  };
  /// By the Service's port, or where that is 0 by its name.
  Found find(const std::string& service, std::uint16_t port, const std::string& port_name) const;

 private:
  void put_service(const std::string& key, const boost::json::object& object);
  void put_slice(const std::string& key, const boost::json::object& object);
  void drop_slice(const std::string& key);
  void tell(const std::string& service);
  void tell_all();

  std::function<void(const std::string& service)> changed_;
  std::map<std::string, std::vector<NamedPort>> services_;
  std::map<std::string, EndpointSlice> slices_;
  std::map<std::string, std::set<std::string>> slices_of_;  ///< By Service.
  bool services_synced_ = false;
  bool slices_synced_ = false;
  Watch watch_services_;
  Watch watch_slices_;
};

}  // namespace culvert::server
