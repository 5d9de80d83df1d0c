// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_mapping_controller.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"

// The way of an object: the informer -> plan() -> publish(), which the tunnels see; then keep_targets() looks its
// target up, and keep_status() writes what came of all that.

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

namespace {

constexpr const char* collection = "/apis/connectivityproxy.sap.com/v1/servicemappings";
constexpr auto debounce = 50ms;        ///< A list of thousands is one change;
constexpr int debounce_factor = 10;    ///< and while such lists change all the time, there is time for other things.
constexpr auto target_interval = 30s;  ///< How often a target is looked up again.
constexpr auto status_interval = 1s;
constexpr auto lookup_time_max = 5s;
constexpr auto first_table_time_max = 2s;
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
      mappings_(client, log, read_service_mapping, [this] { note_change(); }),
      endpoints_(client, log, [this](const std::string& service) { look_up_again(service); }),
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
  std::optional<Clock::time_point> patient_until;
  for (;;) {
    while (!has_changed_) co_await changed_.wait();
    co_await wait_for(pause);
    has_changed_ = false;
    const auto began = Clock::now();
    plan();
    if (!is_synced()) continue;
    if (!patient_until) patient_until = began + first_table_time_max;
    if (!published_ && is_half_known() && began < *patient_until) {
      note_change();
      continue;
    }
    publish();
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
    pause = std::max<std::chrono::milliseconds>(debounce, debounce_factor * took);
  }
}

void ServiceMappingController::plan() {
  planned_.clear();
  addresses_.clear();
  for (PlannedMapping& planned : plan_service_mappings(mappings_.objects(), settings_)) {
    const std::string key = planned.key;
    planned_.emplace(key, std::move(planned));
  }
  std::set<std::string> wanted;
  for (const auto& [key, planned] : planned_) {
    if (!planned.is_accepted()) continue;
    const std::string& address = mappings_.objects().at(key).internal_address;
    wanted.insert(address);
    if (planned.target && !planned.target->service.empty()) addresses_[planned.target->service].insert(address);
  }
  std::erase_if(targets_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  for (const std::string& address : wanted) {
    if (targets_.try_emplace(address).second) to_look_up_.push_back(address);
  }
  writer_.keep_only([this](const std::string& key) { return planned_.contains(key); });
  std::erase_if(settled_, [&](const auto& entry) { return !planned_.contains(entry.first); });
  if (!to_look_up_.empty()) changed_.notify();
}

/// Whether a table made now would lack ports or endpoints that are being looked up. The first one waits for them a
/// while, because after a reload it takes the place of one that has them.
bool ServiceMappingController::is_half_known() const {
  return std::ranges::any_of(planned_, [this](const auto& entry) {
    const auto& [key, planned] = entry;
    return planned.is_accepted() && (settings_.endpoint_slices || planned.mapping.internal_address.port == 0) &&
           !targets_.at(mappings_.objects().at(key).internal_address).was_looked_up;
  });
}

void ServiceMappingController::publish() {
  std::vector<ServiceMapping> table;
  for (const auto& [key, planned] : planned_) {
    if (!planned.is_accepted()) continue;
    ServiceMapping mapping = planned.mapping;
    const Target& target = targets_.at(mappings_.objects().at(key).internal_address);
    if (mapping.internal_address.port == 0) mapping.internal_address.port = target.port;
    mapping.endpoints = target.endpoints;
    if (mapping.internal_address.port != 0) table.push_back(std::move(mapping));
  }
  if (table == published_) return;
  published_ = table;
  log_.info("kubernetes.mappings", {{"objects", mappings_.objects().size()}, {"services", table.size()}});
  hooks_.publish(std::move(table));
}

// ---- the targets

asio::awaitable<void> ServiceMappingController::keep_targets() {
  for (;;) {
    co_await wait_for(target_interval);
    for (const auto& [address, target] : targets_) to_look_up_.push_back(address);
    changed_.notify();
  }
}

void ServiceMappingController::look_up_again(const std::string& service) {
  if (!published_) note_change();  // It may have waited for this.
  const auto found = addresses_.find(service);
  if (found == addresses_.end()) return;
  to_look_up_.insert(to_look_up_.end(), found->second.begin(), found->second.end());
  changed_.notify();
}

asio::awaitable<void> ServiceMappingController::look_up_all() {
  for (;;) {
    while (to_look_up_.empty()) co_await changed_.wait();
    const std::string text = std::move(to_look_up_.front());
    to_look_up_.pop_front();
    auto address = parse_internal_address(text, settings_);
    if (!address) continue;
    Target target = co_await look_up(std::move(*address));
    const auto found = targets_.find(text);
    if (found == targets_.end()) continue;
    // While it cannot be asked, a named port is what it was.
    if (target.port == 0) target.port = found->second.port;
    target.was_looked_up = is_synced();
    const bool is_other = target.port != found->second.port || target.endpoints != found->second.endpoints;
    found->second = std::move(target);
    if (is_other) note_change();
  }
}

asio::awaitable<ServiceMappingController::Target> ServiceMappingController::look_up(InternalAddress address) {
  if (address.service.empty()) co_return Target{address.port, {}, true, {}};
  if (!settings_.endpoint_slices) co_return co_await look_up_by_name(std::move(address));
  ServiceEndpoints::Found found = endpoints_.find(address.service, address.port, address.port_name);
  const bool is_resolved = !found.ready.empty();
  co_return Target{found.port, std::move(found.ready), is_resolved, std::move(found.why_not)};
}

asio::awaitable<ServiceMappingController::Target> ServiceMappingController::look_up_by_name(InternalAddress address) {
  Target target{address.port, {}, false, {}};
  if (!address.port_name.empty()) {
    const std::size_t slash = address.service.find('/');
    const std::string path = fmt::format("/api/v1/namespaces/{}/services/{}", address.service.substr(0, slash),
                                         address.service.substr(slash + 1));
    auto service = co_await client_.get(path);
    if (!service || !service->is_good() || !service->body.is_object()) {
      target.why_not = fmt::format("{}: {}", path, service ? service->complaint() : service.error().text);
      co_return target;
    }
    for (const NamedPort& port : read_ports(object_at(service->body.get_object(), "spec"))) {
      if (port.name == address.port_name) target.port = port.port;
    }
    if (target.port == 0) {
      target.why_not = fmt::format("the service has no port named {}", address.port_name);
      co_return target;
    }
  }
  const auto addresses = co_await resolver_.resolve(address.host, Clock::now() + lookup_time_max);
  target.is_resolved = addresses.has_value();
  if (!addresses) target.why_not = addresses.error().text;
  co_return target;
}

// ---- the status

asio::awaitable<void> ServiceMappingController::keep_status() {
  for (;;) {
    co_await wait_for(status_interval);
    if (!lease_.is_ours() || !is_synced()) continue;
    // By name: each write may take a while, and objects come and go meanwhile.
    std::vector<std::string> keys;
    keys.reserve(planned_.size());
    for (const auto& [key, planned] : planned_) keys.push_back(key);
    for (std::string& key : keys) {
      if (!lease_.is_ours()) break;
      co_await write_status(std::move(key));
    }
  }
}

/// Nothing: it was planned before the object changed, or not looked up yet, and the next round knows more.
std::optional<MappingFacts> ServiceMappingController::facts_of(const ServiceMappingObject& object,
                                                               const PlannedMapping& planned) const {
  if (!planned.is_accepted()) return MappingFacts{};
  const auto target = targets_.find(object.internal_address);
  if (target == targets_.end() || !target->second.was_looked_up) return std::nullopt;
  const bool has_agent = std::ranges::any_of(planned.mapping.locations, [&](const std::string& location) {
    return hooks_.has_agent(planned.mapping.account, location);
  });
  return MappingFacts{target->second.is_resolved, target->second.why_not, has_agent};
}

asio::awaitable<void> ServiceMappingController::write_status(std::string key) {
  const auto known = mappings_.objects().find(key);
  const auto plan = planned_.find(key);
  if (known == mappings_.objects().end() || plan == planned_.end() || known->second.is_going) co_return;
  auto facts = facts_of(known->second, plan->second);
  if (!facts) co_return;
  Settled now{known->second.version, plan->second.reason, plan->second.message, std::move(*facts)};
  if (const auto before = settled_.find(key); before != settled_.end() && before->second == now) co_return;

  ServiceMappingObject object = known->second;
  const PlannedMapping planned = plan->second;
  object.status = writer_.known(key, object.status);
  json::object status = status_of(object, planned, now.facts, settings_, kubernetes_time());
  if (status == object.status) {
    settled_[key] = std::move(now);
    co_return;
  }
  co_await writer_.write({"connectivityproxy.sap.com/v1", "ServiceMapping", "", object.name, object.uid},
                         fmt::format("{}/{}", collection, key), object.version, object.status, std::move(status));
}

}  // namespace culvert::server
