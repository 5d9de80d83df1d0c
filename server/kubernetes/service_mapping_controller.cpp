// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_mapping_controller.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include "common/admin/defect.hpp"
#include "server/kubernetes/object.hpp"

// The way of an object: the informer -> plan() -> publish(), which the tunnels see; then keep_targets() looks its
// target up, and keep_status() writes what came of all that.

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

namespace {

constexpr const char* collection = "/apis/connectivityproxy.sap.com/v1/servicemappings";
constexpr auto debounce = 50ms;        ///< A list of thousands is one change.
constexpr auto target_interval = 30s;  ///< How often a target is looked up again.
constexpr auto status_interval = 1s;
constexpr auto lookup_time_max = 5s;
constexpr auto echo_time_max = 10s;  ///< In which the informer tells what we wrote ourselves.
constexpr int lookup_lanes = 16;

asio::awaitable<void> wait(std::chrono::milliseconds time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::use_awaitable);
}

/// Of the condition Accepted.
std::string accepted_reason(const json::object& status) {
  const json::array* conditions = array_at(status, "conditions");
  for (const json::value& condition : conditions == nullptr ? json::array() : *conditions) {
    if (condition.is_object() && text_at(condition.get_object(), "type") == "Accepted")
      return text_at(condition.get_object(), "reason");
  }
  return "";
}

}  // namespace

Result<ApiAccess> load_access(const KubernetesSettings& settings) {
  ApiAccess access{settings.api_server, std::nullopt, settings.token_file};
  if (!settings.is_secure) return access;
  auto tls = TlsContext::for_backend({settings.ca, settings.client_certificate, settings.client_key});
  if (!tls) return std::unexpected(tls.error());
  access.tls = std::move(*tls);
  return access;
}

ServiceMappingController::ServiceMappingController(Worker& home, Log& log, KubernetesSettings settings,
                                                   ApiAccess access, Hooks hooks)
    : log_(log),
      settings_(std::move(settings)),
      hooks_(std::move(hooks)),
      client_(home.context().get_executor(), std::move(access)),
      resolver_(home.context().get_executor()),
      lease_(client_, log, settings_.name_space, "culvert-server", settings_.identity),
      mappings_(client_, log, collection, read_service_mapping,
                [this] {
                  has_changed_ = true;
                  changed_.notify();
                }),
      changed_(home.context().get_executor()),
      tasks_(home.context().get_executor(), report_defect(log, "kubernetes")) {}

void ServiceMappingController::start() {
  tasks_.spawn(mappings_.run());
  tasks_.spawn(lease_.run());
  tasks_.spawn(keep_table());
  tasks_.spawn(keep_targets());
  for (int lane = 0; lane < lookup_lanes; ++lane) tasks_.spawn(look_up_all());
  tasks_.spawn(keep_status());
}

// ---- the table

asio::awaitable<void> ServiceMappingController::keep_table() {
  for (;;) {
    while (!has_changed_) co_await changed_.wait();
    co_await wait(debounce);
    has_changed_ = false;
    plan();
    publish();
  }
}

void ServiceMappingController::plan() {
  planned_.clear();
  for (PlannedMapping& planned : plan_service_mappings(mappings_.objects(), settings_)) {
    const std::string key = planned.key;
    planned_.emplace(key, std::move(planned));
  }
  std::set<std::string> wanted;
  for (const auto& [key, planned] : planned_) {
    if (planned.is_accepted()) wanted.insert(mappings_.objects().at(key).internal_address);
  }
  std::erase_if(targets_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  for (const std::string& address : wanted) {
    if (targets_.try_emplace(address).second) to_look_up_.push_back(address);
  }
  std::erase_if(written_, [&](const auto& entry) { return !planned_.contains(entry.first); });
  if (!to_look_up_.empty()) changed_.notify();
}

void ServiceMappingController::publish() {
  std::vector<ServiceMapping> table;
  for (const auto& [key, planned] : planned_) {
    if (!planned.is_accepted()) continue;
    ServiceMapping mapping = planned.mapping;
    if (mapping.internal_address.port == 0)
      mapping.internal_address.port = targets_.at(mappings_.objects().at(key).internal_address).port;
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
    co_await wait(target_interval);
    for (const auto& [address, target] : targets_) to_look_up_.push_back(address);
    changed_.notify();
  }
}

asio::awaitable<void> ServiceMappingController::look_up_all() {
  for (;;) {
    while (to_look_up_.empty()) co_await changed_.wait();
    const std::string text = std::move(to_look_up_.front());
    to_look_up_.pop_front();
    const auto address = parse_internal_address(text, settings_);
    if (!address) continue;
    Target target = co_await look_up(*address);
    const auto found = targets_.find(text);
    if (found == targets_.end()) continue;
    const bool is_other_port = target.port != 0 && std::exchange(found->second.port, target.port) != target.port;
    found->second.is_resolved = target.is_resolved;
    found->second.why_not = std::move(target.why_not);
    if (is_other_port) {
      has_changed_ = true;
      changed_.notify();
    }
  }
}

asio::awaitable<ServiceMappingController::Target> ServiceMappingController::look_up(const InternalAddress& address) {
  Target target{.port = address.port, .is_resolved = false, .why_not = {}};
  if (!address.port_name.empty()) {
    auto service = co_await client_.get(address.service_path);
    if (!service || !service->is_good() || !service->body.is_object()) {
      target.why_not =
          fmt::format("{}: {}", address.service_path, service ? service->complaint() : service.error().text);
      co_return target;
    }
    const json::array* ports = array_at(object_at(service->body.get_object(), "spec"), "ports");
    for (const json::value& port : ports == nullptr ? json::array() : *ports) {
      if (port.is_object() && text_at(port.get_object(), "name") == address.port_name)
        target.port = static_cast<std::uint16_t>(number_at(port.get_object(), "port"));
    }
    if (target.port == 0) {
      target.why_not = fmt::format("the service has no port named {}", address.port_name);
      co_return target;
    }
  }
  if (address.service_path.empty()) {
    target.is_resolved = true;
    co_return target;
  }
  const auto addresses = co_await resolver_.resolve(address.host, std::chrono::steady_clock::now() + lookup_time_max);
  target.is_resolved = addresses.has_value();
  if (!addresses) target.why_not = addresses.error().text;
  co_return target;
}

// ---- the status

json::object ServiceMappingController::wanted_status(const ServiceMappingObject& object,
                                                     const PlannedMapping& planned) const {
  MappingFacts facts;
  if (planned.is_accepted()) {
    const Target& target = targets_.at(object.internal_address);
    facts = {target.is_resolved, target.why_not, hooks_.has_agent(planned.mapping)};
  }
  return status_of(object, planned, facts, settings_, kubernetes_time());
}

asio::awaitable<void> ServiceMappingController::keep_status() {
  for (;;) {
    co_await wait(status_interval);
    if (!lease_.is_ours() || !mappings_.is_synced()) continue;
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

asio::awaitable<void> ServiceMappingController::write_status(std::string key) {
  const auto known = mappings_.objects().find(key);
  const auto plan = planned_.find(key);
  if (known == mappings_.objects().end() || plan == planned_.end() || known->second.is_going) co_return;
  ServiceMappingObject object = known->second;
  const PlannedMapping planned = plan->second;
  // Planned before the object changed: the next round knows more.
  if (planned.is_accepted() && !targets_.contains(object.internal_address)) co_return;
  if (const auto ours = written_.find(key); ours != written_.end()) {
    if (object.status == ours->second.status || std::chrono::steady_clock::now() - ours->second.at > echo_time_max) {
      written_.erase(ours);
    } else {
      object.status = ours->second.status;
    }
  }
  json::object status = wanted_status(object, planned);
  if (status == object.status) co_return;
  // An endpoint that is not there any more must be said to be gone.
  json::object patch = status;
  if (!patch.contains("endpoint")) patch["endpoint"] = nullptr;
  auto answer = co_await client_.call(
      "PATCH", fmt::format("{}/{}/status", collection, key),
      json::object{{"metadata", {{"resourceVersion", object.version}}}, {"status", std::move(patch)}},
      "application/merge-patch+json");
  if (!answer || !answer->is_good()) {
    // 409 and 404: it has changed or gone meanwhile, and the informer will tell.
    if (!answer || (answer->status != 409 && answer->status != 404))
      log_.limited(Log::Level::warn, "kubernetes.status_failed",
                   {{"object", key}, {"text", answer ? answer->complaint() : answer.error().text}});
    co_return;
  }
  const bool news = !planned.is_accepted() && accepted_reason(object.status) != planned.reason;
  written_[key] = {std::move(status), std::chrono::steady_clock::now()};
  if (news) co_await tell(object, planned);
}

/// An Event; of a cluster-scoped object it stands in the namespace "default".
asio::awaitable<void> ServiceMappingController::tell(const ServiceMappingObject& object,
                                                     const PlannedMapping& planned) {
  const std::string now = kubernetes_time();
  auto answer = co_await client_.call("POST", "/api/v1/namespaces/default/events",
                                      json::object{{"apiVersion", "v1"},
                                                   {"kind", "Event"},
                                                   {"metadata", {{"generateName", object.name + "."}}},
                                                   {"involvedObject",
                                                    {{"apiVersion", "connectivityproxy.sap.com/v1"},
                                                     {"kind", "ServiceMapping"},
                                                     {"name", object.name},
                                                     {"uid", object.uid}}},
                                                   {"type", "Warning"},
                                                   {"reason", planned.reason},
                                                   {"message", planned.message},
                                                   {"firstTimestamp", now},
                                                   {"lastTimestamp", now},
                                                   {"count", 1},
                                                   {"source", {{"component", "culvert-server"}}}});
  if (!answer || !answer->is_good())
    log_.limited(Log::Level::warn, "kubernetes.event_failed",
                 {{"object", object.name}, {"text", answer ? answer->complaint() : answer.error().text}});
}

}  // namespace culvert::server
