// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/application_controller.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include "common/base/utc_time.hpp"
#include "common/net/deadline.hpp"

// The way of an object: the informer -> the Secrets that it names are read -> the plan, which every replica makes ->
// the targets are published. The writer then writes the object's status, and an Event for a new problem.

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Outcome = ApplicationPolicy::Outcome;

namespace {

constexpr const char* api_version = "applicationconnector.kyma-project.io/v1alpha1";
constexpr auto debounce = 50ms;
constexpr auto interval = 500ms;
constexpr auto secret_time_max = 10s;

std::string collection() {
  return fmt::format("/apis/{}/applications", api_version);
}

}  // namespace

ApplicationController::ApplicationController(const asio::any_io_executor& executor, ApiClient& client, Log& log,
                                             ApplicationRules rules, const Lease& lease,
                                             std::function<void(Targets)> publish)
    : client_(client),
      log_(log),
      rules_(std::move(rules)),
      lease_(lease),
      publish_(std::move(publish)),
      writer_(client, log),
      informer_(client, log, read_application, [this] { note_change(); }),
      secrets_wait_(executor, asio::steady_timer::time_point::max()),
      changed_(executor) {}

void ApplicationController::start(TaskGroup& tasks) {
  tasks.spawn(informer_.run(collection()));
  tasks.spawn(keep_secrets());
  tasks.spawn(keep_targets());
  tasks.spawn(keep_statuses());
}

void ApplicationController::look_at_secrets() {
  secrets_.look_now(Clock::now());
  secrets_wait_.cancel();
}

void ApplicationController::note_change() {
  has_changed_ = true;
  changed_.notify();
}

// ---- every replica: Secrets

asio::awaitable<void> ApplicationController::keep_secrets() {
  for (;;) {
    secrets_wait_.expires_at(secrets_.next_due());
    (void)co_await secrets_wait_.async_wait(asio::as_tuple(asio::use_awaitable));
    co_await throw_if_stopped();
    for (const std::string& name : secrets_.due(Clock::now())) co_await read_secret(name);
  }
}

/// Only by its name: the server has no right to list or watch Secrets.
asio::awaitable<void> ApplicationController::read_secret(std::string name) {
  const std::string path = fmt::format("/api/v1/namespaces/{}/secrets/{}", rules_.name_space, name);
  auto answer = co_await client_.call("GET", path, std::nullopt, "application/json", secret_time_max);
  const bool is_answer = answer && (answer->is_good() || (answer->status >= 400 && answer->status < 500));
  if (!answer || (!answer->is_good() && answer->status != 404)) {
    log_.limited(Log::Level::warn, "kubernetes.secret_failed",
                 {{"secret", name}, {"text", answer ? answer->error_text() : answer.error().text}});
  }
  const auto now = Clock::now();
  if (!is_answer) {
    secrets_.note_failure(name, now);
  } else if (secrets_.note_answer(name, answer->status, answer->body, answer->is_good() ? "" : answer->error_text(),
                                  now)) {
    have_secrets_changed_ = true;
    note_change();
  }
}

// ---- every replica: targets

asio::awaitable<void> ApplicationController::keep_targets() {
  for (;;) {
    while (!has_changed_) co_await changed_.wait();
    co_await wait_for(debounce);
    has_changed_ = false;
    if (!informer_.is_synced()) continue;
    choose_specs();
    plan();
  }
}

void ApplicationController::choose_specs() {
  std::map<std::string, ApplicationSpec> next;
  std::set<std::string> names;
  for (const auto& [key, object] : informer_.objects()) {
    if (object.is_going) continue;
    std::set<std::string> wanted = secrets_of(object.spec);
    const auto older = specs_.find(key);
    const bool waits = older != specs_.end() && !secrets_.are_read(wanted);
    next.emplace(key, waits ? older->second : object.spec);
    names.merge(wanted);
    if (waits) names.merge(secrets_of(older->second));
  }
  specs_ = std::move(next);
  secrets_.follow(names, Clock::now());
  secrets_wait_.cancel();
}

void ApplicationController::plan() {
  const auto is_read = [this](const auto& entry) { return secrets_.are_read(secrets_of(entry.second)); };
  if (!is_published_ && !std::ranges::all_of(specs_, is_read)) return;
  if (is_published_ && !have_secrets_changed_ && specs_ == planned_) return;
  planned_ = specs_;
  have_secrets_changed_ = false;
  reports_.clear();
  auto targets = std::make_shared<std::vector<NamedTarget>>();
  for (const auto& entry : specs_) {
    PlannedApplication planned = plan_application(entry.second, secrets_, rules_);
    // What is said about an object before its Secrets are read would be wrong a moment later.
    if (is_read(entry)) reports_.emplace(entry.first, std::move(planned.report));
    std::ranges::move(planned.targets, std::back_inserter(*targets));
  }
  const auto has_problem = [](const NamedTarget& target) { return !target.problem.empty(); };
  log_.info("kubernetes.applications", {{"objects", specs_.size()},
                                        {"targets", targets->size()},
                                        {"not_ready", std::ranges::count_if(*targets, has_problem)}});
  is_published_ = true;
  publish_(std::move(targets));
}

// ---- the writer

asio::awaitable<void> ApplicationController::keep_statuses() {
  for (;;) {
    co_await wait_for(interval);
    if (!lease_.is_ours() || !is_published_) continue;
    policy_.keep_only([this](const std::string& key) { return informer_.objects().contains(key); });
    std::vector<std::string> keys;
    keys.reserve(reports_.size());
    for (const auto& [key, report] : reports_) keys.push_back(key);
    for (const std::string& key : keys) {
      const auto object = informer_.objects().find(key);
      const auto report = reports_.find(key);
      if (!lease_.is_ours()) break;
      if (object == informer_.objects().end() || report == reports_.end()) continue;
      // Otherwise the report is about an earlier state of the object.
      const auto planned = planned_.find(key);
      if (planned == planned_.end() || planned->second != object->second.spec) continue;
      auto next = policy_.next_write(key, object->second, report->second, Clock::now(), utc_text(wall_clock_now()));
      if (next) co_await write(key, std::move(*next));
    }
  }
}

asio::awaitable<void> ApplicationController::write(std::string name, ApplicationWrite write) {
  Outcome outcome = Outcome::done;
  if (write.has_new_status) {
    auto answer = co_await client_.call("PATCH", fmt::format("{}/{}/status", collection(), name),
                                        json::value(patch_of(write.status)), "application/merge-patch+json");
    if (answer && (answer->status == 404 || answer->status == 409)) {
      outcome = Outcome::untaken;
    } else if (!answer || !answer->is_good()) {
      outcome = Outcome::failed;
      log_.limited(Log::Level::warn, "kubernetes.status_failed",
                   {{"object", name}, {"text", answer ? answer->error_text() : answer.error().text}});
    }
  }
  policy_.note(write, outcome, Clock::now());
  if (outcome == Outcome::failed) co_return;
  const ObjectReference object{api_version, "Application", "", name, write.status.uid};
  for (const RefusalReason& event : write.events) co_await writer_.warn(object, event);
}

}  // namespace culvert::server
