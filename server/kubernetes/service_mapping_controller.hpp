// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/name_resolver.hpp"
#include "common/net/task_group.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/informer.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/service_endpoints.hpp"
#include "server/kubernetes/service_mapping_object.hpp"
#include "server/kubernetes/status_writer.hpp"

namespace culvert::server {

/// The cluster's ServiceMappings: objects become entries of the table that the tunnels use, and their status says what
/// became of them. Every replica follows them; who holds the Lease writes. While the API is away, what was known stays
/// in force. At home; a part of the Cluster, which it does not outlive.
class ServiceMappingController {
 public:
  struct Hooks {
    std::function<void(std::vector<ServiceMapping>)> publish;  ///< Another table than before.
    std::function<bool(const std::string& account, const std::string& location)> has_agent;  ///< Is one connected?
  };
  ServiceMappingController(const boost::asio::any_io_executor& executor, ApiClient& client, Log& log,
                           const KubernetesSettings& settings, const Lease& lease, Hooks hooks);

  void start(TaskGroup& tasks);
  /// From then on targets are those of EndpointSlices, where the settings say so. `version` of discovery.k8s.io.
  void follow_endpoints(TaskGroup& tasks, const std::string& version);
  /// The first list has come, and what stands behind it.
  bool is_synced() const { return mappings_.is_synced() && (!settings_.endpoint_slices || endpoints_.is_synced()); }
  std::size_t objects() const { return mappings_.objects().size(); }

 private:
  struct Target {
    std::uint16_t port = 0;           ///< Of a named one.
    std::vector<Endpoint> endpoints;  ///< By EndpointSlices.
    bool is_resolved = false;
    std::string why_not;
    bool was_looked_up = false;
  };
  boost::asio::awaitable<void> keep_table();
  boost::asio::awaitable<void> keep_targets();
  boost::asio::awaitable<void> look_up_all();
  boost::asio::awaitable<Target> look_up(InternalAddress address);
  boost::asio::awaitable<Target> look_up_by_name(InternalAddress address);
  boost::asio::awaitable<void> keep_status();
  boost::asio::awaitable<void> write_status(std::string key);
  std::optional<MappingFacts> facts_of(const ServiceMappingObject& object, const PlannedMapping& planned) const;
  void plan();
  bool is_half_known() const;
  void publish();
  void note_change();
  void look_up_again(const std::string& service);

  ApiClient& client_;
  Log& log_;
  const KubernetesSettings& settings_;
  const Lease& lease_;
  const Hooks hooks_;
  NameResolver resolver_;
  StatusWriter writer_;
  Informer<ServiceMappingObject> mappings_;
  ServiceEndpoints endpoints_;
  std::map<std::string, PlannedMapping> planned_;           ///< By the object's name.
  std::map<std::string, Target> targets_;                   ///< By internalAddress as written.
  std::map<std::string, std::set<std::string>> addresses_;  ///< By Service: what names it.
  std::deque<std::string> to_look_up_;
  std::optional<std::vector<ServiceMapping>> published_;
  /// What a status was last found right for, so that thousands of objects at rest cost nothing.
  struct Settled {
    std::string version;
    std::string reason;
    std::string message;
    MappingFacts facts;
    friend bool operator==(const Settled&, const Settled&) = default;
  };
  std::map<std::string, Settled> settled_;
  bool has_changed_ = false;
  Event changed_;
};

}  // namespace culvert::server
