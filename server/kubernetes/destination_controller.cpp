// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/destination_controller.hpp"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include "common/base/utc_time.hpp"
#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"

// The way of an object is that of an OnPremiseService (on_premise_controller.cpp). The Secret with the definitions is
// read beside it: its values go to the gateway, and what they are decides which objects are accepted.

namespace culvert::server {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr const char* group = "/apis/destination.connectivity.api.sap/v1";
constexpr auto debounce = 50ms;
constexpr auto interval = 500ms;
constexpr auto secret_time_max = 10s;

/// A route of no account needs no agent.
bool has_agent_for(const Replicas& replicas, const std::string& account, const std::string& location) {
  return account.empty() || replicas.has_agent(account, location);
}

}  // namespace

DestinationController::DestinationController(const asio::any_io_executor& executor, ApiClient& client, Log& log,
                                             const GatewaySettings& gateway, std::string name_space, const Lease& lease,
                                             const Replicas& replicas, Hooks hooks)
    : client_(client),
      log_(log),
      name_space_(std::move(name_space)),
      lease_(lease),
      replicas_(replicas),
      hooks_(std::move(hooks)),
      writer_(client, log),
      services_(client),
      policy_({.ports = gateway.destination_ports.value_or(EndpointRange()).ports,
               .table = "[gateway] destination_ports",
               .plan =
                   [this, &gateway](const ServicePolicy<DestinationObject>::Objects& objects) {
                     return plan_destinations(objects, definitions_, gateway);
                   }}),
      informer_(client, log, read_destination_object, [this] { note_change(); }),
      secret_wait_(executor, asio::steady_timer::time_point::max()),
      changed_(executor) {
  secrets_.follow({definitions_secret}, Clock::now());
}

void DestinationController::start(TaskGroup& tasks, const std::string& version) {
  services_.use_version(version);
  tasks.spawn(informer_.run(fmt::format("{}/destinations", group)));
  tasks.spawn(keep_secret());
  tasks.spawn(keep_ports());
  tasks.spawn(keep_services());
}

bool DestinationController::is_synced() const {
  return informer_.is_synced() && has_definitions_;
}

void DestinationController::look_at_secrets() {
  secrets_.look_now(Clock::now());
  secret_wait_.cancel();
}

void DestinationController::note_change() {
  has_changed_ = true;
  changed_.notify();
}

// ---- every replica: the definitions

asio::awaitable<void> DestinationController::keep_secret() {
  for (;;) {
    secret_wait_.expires_at(secrets_.next_due());
    (void)co_await secret_wait_.async_wait(asio::as_tuple(asio::use_awaitable));
    co_await throw_if_stopped();
    if (!secrets_.due(Clock::now()).empty()) co_await read_secret();
  }
}

/// Only by its name: the server has no right to list or watch Secrets.
asio::awaitable<void> DestinationController::read_secret() {
  const std::string path = fmt::format("/api/v1/namespaces/{}/secrets/{}", name_space_, definitions_secret);
  auto answer = co_await client_.call("GET", path, std::nullopt, "application/json", secret_time_max);
  const bool is_answer = answer && (answer->is_good() || (answer->status >= 400 && answer->status < 500));
  if (!answer || (!answer->is_good() && answer->status != 404)) {
    log_.limited(Log::Level::warn, "kubernetes.secret_failed",
                 {{"secret", definitions_secret}, {"text", answer ? answer->error_text() : answer.error().text}});
  }
  const auto now = Clock::now();
  if (!is_answer) {
    secrets_.note_failure(definitions_secret, now);
  } else if (secrets_.note_answer(definitions_secret, answer->status, answer->body,
                                  answer->is_good() ? "" : answer->error_text(), now)) {
    take_secret();
  }
}

void DestinationController::take_secret() {
  const ClusterSecret* secret = secrets_.find(definitions_secret);
  definitions_ = read_definitions(*secret);
  has_definitions_ = true;
  auto texts = std::make_shared<DestinationTexts>();
  for (const auto& [key, value] : secret->values) texts->emplace(key, value.copy());
  hooks_.definitions(std::move(texts));
  note_change();
}

// ---- every replica: where it listens

asio::awaitable<void> DestinationController::keep_ports() {
  for (;;) {
    while (!has_changed_) co_await changed_.wait();
    co_await wait_for(debounce);
    has_changed_ = false;
    if (!is_synced()) continue;
    policy_.plan(informer_.objects());
    auto ports = policy_.next_ports();
    if (!ports) continue;
    log_.info("kubernetes.destinations", {{"objects", objects()}, {"ports", ports->size()}});
    hooks_.ports(std::move(*ports));
  }
}

// ---- the writer: what leads there

asio::awaitable<void> DestinationController::keep_services() {
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

asio::awaitable<void> DestinationController::keep(std::string key) {
  while (auto work = policy_.next_work(key, replicas_.ready(), Clock::now())) {
    const auto outcome = co_await services_.carry_out(std::move(*work));
    policy_.note_done(key, outcome, Clock::now());
  }
  const auto has_agent = [this](const std::string& account, const std::string& location) {
    return has_agent_for(replicas_, account, location);
  };
  auto write = policy_.next_status(key, has_agent, Clock::now(), utc_text(wall_clock_now()));
  if (!write) co_return;
  const std::size_t slash = key.find('/');
  const ObjectReference object{group + std::string_view("/apis/").size(), "Destination", key.substr(0, slash),
                               key.substr(slash + 1), write->uid};
  const std::string path = fmt::format("{}/namespaces/{}/destinations/{}", group, object.name_space, object.name);
  if (!co_await writer_.write(object, path, *write)) co_return;
  policy_.note_written(*write, Clock::now());
  if (auto problem = new_problem(*write)) co_await writer_.warn(object, std::move(*problem));
}

}  // namespace culvert::server
