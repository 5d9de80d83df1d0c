// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_mapping_controller.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/base/utc_time.hpp"
#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"

// The way of an object: the informer -> the policy's plan -> the table, which the tunnels see; then its target is
// looked up, and keep_status() writes the outcome.

namespace culvert::server {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr const char* collection = "/apis/connectivityproxy.sap.com/v1/servicemappings";
constexpr auto debounce = 50ms;        ///< A list of thousands is one change.
constexpr int debounce_factor = 10;    ///< While lists change all the time, planning takes at most a tenth of it.
constexpr auto target_interval = 30s;  ///< How often a target is looked up again.
constexpr auto status_interval = 1s;
constexpr auto lookup_time_max = 5s;
constexpr int lookup_lanes = 16;

using Clock = std::chrono::steady_clock;

}  // namespace

ServiceMappingController::ServiceMappingController(const asio::any_io_executor& executor, ApiClient& client, Log& log,
                                                   const KubernetesSettings& settings, const Lease& lease, Hooks hooks)
    : client_(client),
      log_(log),
      settings_(settings),
      lease_(lease),
      hooks_(std::move(hooks)),
      resolver_(executor),
      writer_(client, log),
      policy_(settings),
      mappings_(client, log, read_service_mapping, [this] { note_change(); }),
      endpoints_(client, log, [this](const std::string& service) { note_endpoints(service); }),
      changed_(executor) {}

void ServiceMappingController::start(TaskGroup& tasks) {
  tasks.spawn(mappings_.run(collection));
  tasks.spawn(keep_table());
  tasks.spawn(keep_targets());
  for (int lane = 0; lane < lookup_lanes; ++lane) tasks.spawn(look_up_all());
  tasks.spawn(keep_status());
}

void ServiceMappingController::follow_endpoints(TaskGroup& tasks, const std::string& version) {
  if (settings_.endpoint_slices) endpoints_.start(tasks, version);
}

void ServiceMappingController::note_change() {
  has_changed_ = true;
  changed_.notify();
}

// ---- the table

asio::awaitable<void> ServiceMappingController::keep_table() {
  std::chrono::milliseconds pause = debounce;
  for (;;) {
    while (!has_changed_) co_await changed_.wait();
    co_await wait_for(pause);
    has_changed_ = false;
    const auto began = Clock::now();
    policy_.plan(mappings_.objects());
    const auto step = policy_.next_table(is_synced(), began);
    if (step == ServiceMappingPolicy::TableStep::publish) publish();
    if (policy_.has_lookup()) changed_.notify();
    has_changed_ = has_changed_ || step == ServiceMappingPolicy::TableStep::look_again;
    if (!policy_.has_table()) continue;
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
    pause = std::max<std::chrono::milliseconds>(debounce, debounce_factor * took);
  }
}

void ServiceMappingController::publish() {
  log_.info("kubernetes.mappings", {{"objects", objects()}, {"services", policy_.table().size()}});
  hooks_.publish(policy_.table());
}

// ---- the targets

asio::awaitable<void> ServiceMappingController::keep_targets() {
  for (;;) {
    co_await wait_for(target_interval);
    policy_.look_up_all();
    changed_.notify();
  }
}

/// The endpoints of this Service are others; "": all have come for the first time.
void ServiceMappingController::note_endpoints(const std::string& service) {
  if (!policy_.has_table()) note_change();  // The first table may have waited for this.
  policy_.look_up_service(service);
  if (policy_.has_lookup()) changed_.notify();
}

asio::awaitable<void> ServiceMappingController::look_up_all() {
  for (;;) {
    auto next = policy_.next_lookup();
    if (!next) {
      co_await changed_.wait();
      continue;
    }
    MappingTarget target = co_await look_up(std::move(next->address));
    if (policy_.take_target(next->text, std::move(target), is_synced())) note_change();
  }
}

asio::awaitable<MappingTarget> ServiceMappingController::look_up(InternalAddress address) {
  if (address.service.empty()) co_return MappingTarget{address.port, {}, true, {}};
  if (!settings_.endpoint_slices) co_return co_await look_up_by_name(std::move(address));
  ServiceTarget found = endpoints_.find(address.service, address.port, address.port_name);
  if (!found.endpoints) {
    address.port = found.port;
    address.port_name.clear();
    co_return co_await look_up_by_name(std::move(address));
  }
  const bool is_resolved = !found.endpoints->empty();
  co_return MappingTarget{found.port, std::move(found.endpoints), is_resolved, std::move(found.why_not)};
}

asio::awaitable<MappingTarget> ServiceMappingController::look_up_by_name(InternalAddress address) {
  MappingTarget target{address.port, {}, false, {}};
  if (!address.port_name.empty()) {
    const auto port = co_await look_up_port(address);
    if (!port) {
      target.why_not = port.error().text;
      co_return target;
    }
    target.port = *port;
  }
  const auto addresses = co_await resolver_.resolve(address.host, Clock::now() + lookup_time_max);
  target.is_resolved = addresses.has_value();
  if (!addresses) target.why_not = addresses.error().text;
  co_return target;
}

asio::awaitable<Result<std::uint16_t>> ServiceMappingController::look_up_port(InternalAddress address) {
  const std::size_t slash = address.service.find('/');
  const std::string path = fmt::format("/api/v1/namespaces/{}/services/{}", address.service.substr(0, slash),
                                       address.service.substr(slash + 1));
  auto service = co_await client_.get(path);
  if (!service) co_return fail(service.error().code, fmt::format("{}: {}", path, service.error().text));
  if (!service->is_good() || !service->body.is_object())
    co_return fail("kubernetes.refused", fmt::format("{}: {}", path, service->error_text()));
  for (const NamedPort& port : read_ports(object_at(service->body.get_object(), "spec"))) {
    if (port.name == address.port_name) co_return port.port;
  }
  co_return fail("kubernetes.refused", fmt::format("the service has no port named {}", address.port_name));
}

// ---- the status

asio::awaitable<void> ServiceMappingController::keep_status() {
  for (;;) {
    co_await wait_for(status_interval);
    if (!lease_.is_ours() || !is_synced()) continue;
    // By name: each write may take a while, and objects come and go meanwhile.
    const std::vector<std::string> keys = policy_.keys();
    std::string date = utc_text(wall_clock_now());
    for (const std::string& key : keys) {
      if (!lease_.is_ours()) break;
      const auto known = mappings_.objects().find(key);
      if (known == mappings_.objects().end()) continue;
      auto write = policy_.next_status(known->second, hooks_.has_agent, Clock::now(), date);
      if (!write) continue;
      const ObjectReference object{"connectivityproxy.sap.com/v1", "ServiceMapping", "", key, write->uid};
      if (co_await writer_.write(object, fmt::format("{}/{}", collection, key), *write))
        policy_.note_written(*write, Clock::now());
      date = utc_text(wall_clock_now());
    }
  }
}

}  // namespace culvert::server
