// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/on_premise_controller.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/base/utc_time.hpp"
#include "common/net/deadline.hpp"

// The way of an object: the informers -> the policy's plan, which every replica makes; where its status has a port,
// that is published. The writer then keeps Service, EndpointSlice and status, in this order; the last gives it its
// port.

namespace culvert::server {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr const char* group = "/apis/culvert.dev/v1alpha1";
constexpr auto debounce = 50ms;
constexpr auto interval = 500ms;

}  // namespace

OnPremiseController::OnPremiseController(const asio::any_io_executor& executor, ApiClient& client, Log& log,
                                         const OnPremiseSettings& settings, const KubernetesSettings& kubernetes,
                                         const Lease& lease, const Replicas& replicas, Publish publish)
    : log_(log),
      namespaces_(settings.namespaces),
      lease_(lease),
      replicas_(replicas),
      publish_(std::move(publish)),
      writer_(client, log),
      services_(client),
      policy_(settings, kubernetes),
      changed_(executor) {
  const std::size_t count = std::max<std::size_t>(namespaces_.size(), 1);
  for (std::size_t i = 0; i < count; ++i) {
    informers_.push_back(std::make_unique<Informer<OnPremiseObject>>(client, log, read_on_premise, [this] {
      has_changed_ = true;
      changed_.notify();
    }));
  }
}

void OnPremiseController::start(TaskGroup& tasks, const std::string& version) {
  services_.use_version(version);
  for (std::size_t i = 0; i < informers_.size(); ++i) {
    const std::string where = namespaces_.empty() ? "" : "/namespaces/" + namespaces_[i];
    tasks.spawn(informers_[i]->run(group + where + "/onpremiseservices"));
  }
  tasks.spawn(keep_ports());
  tasks.spawn(keep_services());
}

bool OnPremiseController::is_synced() const {
  return std::ranges::all_of(informers_, [](const auto& informer) { return informer->is_synced(); });
}

OnPremisePolicy::Objects OnPremiseController::gather() const {
  OnPremisePolicy::Objects objects;
  for (const auto& informer : informers_) objects.insert(informer->objects().begin(), informer->objects().end());
  return objects;
}

// ---- every replica: where it listens

asio::awaitable<void> OnPremiseController::keep_ports() {
  for (;;) {
    while (!has_changed_) co_await changed_.wait();
    co_await wait_for(debounce);
    has_changed_ = false;
    if (!is_synced()) continue;
    policy_.plan(gather());
    auto ports = policy_.next_ports();
    if (!ports) continue;
    log_.info("kubernetes.on_premise_services", {{"objects", objects()}, {"ports", ports->size()}});
    publish_(std::move(*ports));
  }
}

// ---- the writer: what leads there

asio::awaitable<void> OnPremiseController::keep_services() {
  for (;;) {
    co_await wait_for(interval);
    if (!lease_.is_ours() || !is_synced() || !replicas_.is_synced()) continue;
    const std::vector<std::string> keys = policy_.keys();
    for (const std::string& key : keys) {
      if (!lease_.is_ours()) break;
      co_await keep(key);
    }
  }
}

asio::awaitable<void> OnPremiseController::keep(std::string key) {
  while (auto work = policy_.next_work(key, replicas_.ready(), Clock::now())) {
    const auto outcome = co_await services_.carry_out(std::move(*work));
    policy_.note_done(key, outcome, Clock::now());
  }
  const auto has_agent = [this](const std::string& account, const std::string& location) {
    return replicas_.has_agent(account, location);
  };
  auto write = policy_.next_status(key, has_agent, Clock::now(), utc_text(wall_clock_now()));
  if (!write) co_return;
  const std::size_t slash = key.find('/');
  const ObjectReference object{"culvert.dev/v1alpha1", "OnPremiseService", key.substr(0, slash), key.substr(slash + 1),
                               write->uid};
  const std::string path = fmt::format("{}/namespaces/{}/onpremiseservices/{}", group, object.name_space, object.name);
  if (co_await writer_.write(object, path, *write)) policy_.note_written(*write, Clock::now());
}
}  // namespace culvert::server
