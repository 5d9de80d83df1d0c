// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/name_resolver.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/informer.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/service_mapping_object.hpp"

namespace culvert::server {

/// The cluster's ServiceMappings: objects become entries of the table that the tunnels use, and their status says what
/// became of them. Every replica follows them; who holds the Lease writes. While the API is away, what was known stays
/// in force. Lives at home. Life: start(), request_stop(), until is_over().
class ServiceMappingController {
 public:
  struct Hooks {
    std::function<void(std::vector<ServiceMapping>)> publish;  ///< Another table than before.
    std::function<bool(const ServiceMapping&)> has_agent;      ///< Is one connected that may use it?
  };
  ServiceMappingController(Worker& home, Log& log, KubernetesSettings settings, ApiAccess access, Hooks hooks);

  void start();
  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

  const KubernetesSettings& settings() const { return settings_; }
  /// The first list has come.
  bool is_synced() const { return mappings_.is_synced(); }
  bool is_writer() const { return lease_.is_ours(); }
  std::size_t objects() const { return mappings_.objects().size(); }

 private:
  struct Target {
    std::uint16_t port = 0;  ///< Of a named one.
    bool is_resolved = false;
    std::string why_not = "it was not looked up yet";
  };
  boost::asio::awaitable<void> keep_table();
  boost::asio::awaitable<void> keep_targets();
  boost::asio::awaitable<void> look_up_all();
  boost::asio::awaitable<Target> look_up(const InternalAddress& address);
  boost::asio::awaitable<void> keep_status();
  boost::asio::awaitable<void> write_status(std::string key);
  boost::asio::awaitable<void> tell(const ServiceMappingObject& object, const PlannedMapping& planned);
  boost::json::object wanted_status(const ServiceMappingObject& object, const PlannedMapping& planned) const;
  void plan();
  void publish();

  Log& log_;
  const KubernetesSettings settings_;
  const Hooks hooks_;
  ApiClient client_;
  NameResolver resolver_;
  Lease lease_;
  Informer<ServiceMappingObject> mappings_;
  std::map<std::string, PlannedMapping> planned_;  ///< By the object's name.
  std::map<std::string, Target> targets_;          ///< By internalAddress as written.
  std::deque<std::string> to_look_up_;
  std::optional<std::vector<ServiceMapping>> published_;
  /// What we wrote, until the informer has it, too.
  struct Written {
    boost::json::object status;
    std::chrono::steady_clock::time_point at;
  };
  std::map<std::string, Written> written_;
  bool has_changed_ = false;
  Event changed_;
  TaskGroup tasks_;
};

/// A cluster that can be followed.
struct Cluster {
  KubernetesSettings settings;
  ApiAccess access;
};
/// How `settings` lead to the API. Reads files, so it blocks. Errors: tls.*.
Result<ApiAccess> load_access(const KubernetesSettings& settings);

}  // namespace culvert::server
