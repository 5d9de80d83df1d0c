// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/on_premise_controller.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"

// The way of an object: the informers -> gather() and plan, which every replica does; where its status has a port, that
// is published. The writer then keeps Service, EndpointSlice and status, in this order, and so gives it its port.

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

namespace {

constexpr const char* group = "/apis/culvert.dev/v1alpha1";
constexpr auto debounce = 50ms;
constexpr auto interval = 500ms;
constexpr auto look_again = 5min;     ///< Whether somebody else has changed what we made.
constexpr auto retry_interval = 10s;  ///< After a failure, and while a name is taken.

}  // namespace

OnPremiseController::OnPremiseController(const asio::any_io_executor& executor, ApiClient& client, Log& log,
                                         OnPremiseSettings settings, const KubernetesSettings& kubernetes,
                                         const Lease& lease, const Replicas& replicas, Publish publish)
    : client_(client),
      log_(log),
      settings_(std::move(settings)),
      kubernetes_(kubernetes),
      lease_(lease),
      replicas_(replicas),
      publish_(std::move(publish)),
      writer_(client, log),
      changed_(executor) {
  const std::size_t count = std::max<std::size_t>(settings_.namespaces.size(), 1);
  for (std::size_t i = 0; i < count; ++i) {
    informers_.push_back(std::make_unique<Informer<OnPremiseObject>>(client, log, read_on_premise, [this] {
      has_changed_ = true;
      changed_.notify();
    }));
  }
}

void OnPremiseController::start(TaskGroup& tasks, const std::string& version) {
  version_ = version;
  for (std::size_t i = 0; i < informers_.size(); ++i) {
    const std::string where = settings_.namespaces.empty() ? "" : "/namespaces/" + settings_.namespaces[i];
    tasks.spawn(informers_[i]->run(group + where + "/onpremiseservices"));
  }
  tasks.spawn(keep_ports());
  tasks.spawn(keep_services());
}

bool OnPremiseController::is_synced() const {
  return std::ranges::all_of(informers_, [](const auto& informer) { return informer->is_synced(); });
}

std::size_t OnPremiseController::objects() const {
  return objects_.size();
}

std::string OnPremiseController::path(const OnPremiseObject& object) const {
  return fmt::format("{}/namespaces/{}/onpremiseservices/{}", group, object.name_space, object.name);
}

// ---- every replica: where it listens

asio::awaitable<void> OnPremiseController::keep_ports() {
  for (;;) {
    while (!has_changed_) co_await changed_.wait();
    co_await wait_for(debounce);
    has_changed_ = false;
    if (!is_synced()) continue;
    gather();
    std::vector<OnPremisePort> ports;
    for (const auto& [key, planned] : planned_) {
      if (planned.is_accepted() && planned.port.port != 0) ports.push_back(planned.port);
    }
    if (ports == published_) continue;
    published_ = ports;
    log_.info("kubernetes.on_premise_services", {{"objects", objects_.size()}, {"ports", ports.size()}});
    publish_(std::move(ports));
  }
}

void OnPremiseController::gather() {
  objects_.clear();
  for (const auto& informer : informers_) objects_.insert(informer->objects().begin(), informer->objects().end());
  const auto before = std::exchange(planned_, plan_on_premise(objects_, settings_, kubernetes_));
  std::uint16_t given = 0;  // Since then, by whichever replica.
  for (const auto& [key, planned] : planned_) {
    const auto known = before.find(key);
    if (known == before.end() || known->second.port.port != planned.port.port)
      given = std::max(given, planned.port.port);
  }
  if (given != 0) last_port_ = given;
  std::erase_if(left_, [this](const auto& entry) { return !planned_.contains(entry.first); });
  writer_.keep_only([this](const std::string& key) { return planned_.contains(key); });
}

// ---- the writer: what leads there

asio::awaitable<void> OnPremiseController::keep_services() {
  for (;;) {
    co_await wait_for(interval);
    if (!lease_.is_ours() || !is_synced() || !replicas_.is_synced()) continue;
    std::vector<std::string> keys;
    keys.reserve(planned_.size());
    for (const auto& [key, planned] : planned_) keys.push_back(key);
    for (std::string& key : keys) {
      if (!lease_.is_ours()) break;
      co_await keep(std::move(key));
    }
  }
}

asio::awaitable<void> OnPremiseController::keep(std::string key) {
  const auto known = objects_.find(key);
  const auto plan = planned_.find(key);
  if (known == objects_.end() || plan == planned_.end() || known->second.is_going) co_return;
  OnPremiseObject object = known->second;
  PlannedService planned = plan->second;
  object.status = writer_.known(key, object.status);
  if (planned.is_accepted() && planned.port.port == 0) {
    // Given a moment ago, perhaps, and the informer does not know yet.
    planned.port.port = static_cast<std::uint16_t>(number_at(object.status, "port"));
    if (planned.port.port == 0) planned.port.port = last_port_ = free_port(planned_, settings_.ports, last_port_);
    plan->second.port.port = planned.port.port;
    if (planned.port.port == 0) {
      planned.reason = "NoPortLeft";
      planned.message = "every port of the server's [on_premise_services] is in use";
    }
  }
  Left& left = left_[key];
  const bool is_same = left.planned == planned && left.replicas == replicas_.ready() &&
                       left.generation == object.generation && Clock::now() < left.again;
  if (!is_same) {
    left.planned = planned;
    left.replicas = replicas_.ready();
    left.generation = object.generation;
    PublishedFacts facts = co_await publish_service(object, planned);
    const auto again = Clock::now() + (facts.is_published ? std::chrono::seconds(look_again) : retry_interval);
    Left& after = left_[key];  // Others may have come and gone meanwhile.
    after.facts = std::move(facts);
    after.again = again;
  }
  PublishedFacts facts = left_[key].facts;
  if (facts.reason == "NameTaken") {
    planned.reason = facts.reason;
    planned.message = facts.why_not;
    planned.port.port = 0;
  }
  facts.has_agent = planned.is_accepted() && replicas_.has_agent(planned.port.account, planned.port.location);
  json::object status = status_of(object, planned, facts, kubernetes_time());
  if (status == object.status) co_return;
  co_await writer_.write({"culvert.dev/v1alpha1", "OnPremiseService", object.name_space, object.name, object.uid},
                         path(object), object.version, object.status, std::move(status));
}

/// The Service first: who has taken its name is told before anything leads anywhere.
asio::awaitable<PublishedFacts> OnPremiseController::publish_service(OnPremiseObject object, PlannedService planned) {
  PublishedFacts facts;
  const auto failed = [&facts](const Error& error) {
    facts.reason = error.code == "kubernetes.name_taken" ? "NameTaken" : "Failed";
    facts.why_not = error.text;
    return facts;
  };
  const std::string slices =
      fmt::format("/apis/discovery.k8s.io/{}/namespaces/{}/endpointslices", version_, object.name_space);
  if (!planned.is_accepted()) {
    if (number_at(object.status, "port") != 0) co_await withdraw(slices, object);
    co_return facts;
  }
  auto service = co_await put(fmt::format("/api/v1/namespaces/{}/services", object.name_space),
                              service_of(object, planned), object);
  if (!service) co_return failed(service.error());
  auto slice = co_await put(slices, slice_of(object, planned, replicas_.ready(), version_), object);
  if (!slice) co_return failed(slice.error());
  facts.is_published = !replicas_.ready().empty();
  if (!facts.is_published) {
    facts.reason = "NoReplica";
    facts.why_not = "no replica of the server is ready";
  }
  co_return facts;
}

/// Makes an object as it should be, unless somebody else has made one of its name.
asio::awaitable<Result<void>> OnPremiseController::put(std::string collection, json::object wanted,
                                                       OnPremiseObject owner) {
  const std::string name = text_at(object_at(wanted, "metadata"), "name");
  auto there = co_await client_.get(collection + "/" + name);
  if (!there) co_return std::unexpected(there.error());
  if (there->status == 404) {
    auto made = co_await client_.call("POST", collection, json::value(std::move(wanted)));
    if (!made) co_return std::unexpected(made.error());
    if (!made->is_good()) co_return fail("kubernetes.refused", made->complaint());
    co_return Result<void>();
  }
  if (!there->is_good() || !there->body.is_object()) co_return fail("kubernetes.refused", there->complaint());
  const json::object& actual = there->body.get_object();
  if (!is_owned(actual, owner)) {
    co_return fail("kubernetes.name_taken",
                   fmt::format("a {} {} is there already and is not ours; rename this object, or delete that one",
                               text_at(actual, "kind"), name));
  }
  // Not what cannot be changed, or was ours from the beginning.
  for (const char* fixed : {"apiVersion", "kind", "addressType"}) wanted.erase(fixed);
  wanted.erase("metadata");
  if (has_all(actual, wanted)) co_return Result<void>();
  wanted["metadata"] = {{"resourceVersion", text_at(object_at(actual, "metadata"), "resourceVersion")}};
  auto changed = co_await client_.call("PATCH", collection + "/" + name, json::value(std::move(wanted)),
                                       "application/merge-patch+json");
  if (!changed) co_return std::unexpected(changed.error());
  if (!changed->is_good()) co_return fail("kubernetes.refused", changed->complaint());
  co_return Result<void>();
}

/// What led somewhere, and is refused now, leads nowhere. Its Service stays: to delete is not our right.
asio::awaitable<void> OnPremiseController::withdraw(std::string collection, OnPremiseObject object) {
  const std::string path = collection + "/" + slice_name(object);
  auto there = co_await client_.get(path);
  if (!there || !there->is_good() || !there->body.is_object() || !is_owned(there->body.get_object(), object)) co_return;
  (void)co_await client_.call("PATCH", path, json::object{{"endpoints", json::array()}},
                              "application/merge-patch+json");
}

}  // namespace culvert::server
