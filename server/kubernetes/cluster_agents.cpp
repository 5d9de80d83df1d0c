// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/cluster_agents.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"
#include "server/kubernetes/status_write.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;
using protocol::Denied;
using protocol::Reason;

namespace {

constexpr auto debounce = 50ms;
constexpr auto call_time_max = 10s;  ///< The agent waits 60 s for all of it.
constexpr int tries_max = 5;
/// A token that another replica has just made may not have come through our watch yet.
constexpr auto token_patience = 500ms;

std::chrono::sys_seconds now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

std::unexpected<Denied> unavailable(std::string text) {
  return std::unexpected(Denied{Reason::enrolment_unavailable, true, std::move(text)});
}

}  // namespace

ClusterAgents::ClusterAgents(const asio::any_io_executor& executor, std::shared_ptr<ApiClient> client, Log& log,
                             std::string name_space, std::shared_ptr<const EnrolledAgents> known,
                             std::function<void()> changed)
    : client_(std::move(client)),
      log_(log),
      name_space_(std::move(name_space)),
      collection_(fmt::format("/apis/culvert.dev/v1alpha1/namespaces/{}/agents", name_space_)),
      hook_(std::move(changed)),
      informer_(*client_, log, read_agent,
                [this] {
                  has_changed_ = true;
                  changed_.notify();
                }),
      agents_(std::move(known)),
      changed_(executor) {}

void ClusterAgents::start(TaskGroup& tasks) {
  tasks.spawn(informer_.run(collection_));
  tasks.spawn(keep());
}

std::string ClusterAgents::path_of(const std::string& name) const {
  return collection_ + "/" + name;
}

// ---- agents that may connect

asio::awaitable<void> ClusterAgents::keep() {
  for (;;) {
    while (!has_changed_) co_await changed_.wait();
    co_await wait_for(debounce);
    has_changed_ = false;
    if (informer_.is_synced()) plan();
  }
}

void ClusterAgents::plan() {
  planned_ = plan_agents(objects());
  by_identity_.clear();
  for (const auto& [key, each] : planned_) {
    if (each.is_accepted() && !objects().at(key).is_going) by_identity_.emplace(key_of(each.record), key);
  }
  EnrolledAgents next = enrolled_of(objects(), planned_);
  is_planned_ = true;
  if (agents_ && next.enabled == agents_->enabled) return;
  static const EnrolledAgents nobody;
  for (const auto& [identity, was_enabled] : (agents_ ? *agents_ : nobody).enabled) {
    const auto found = next.enabled.find(identity);
    if (found == next.enabled.end())
      log_.info("agent.removed", {{"agent", identity}});
    else if (found->second != was_enabled)
      log_.info(was_enabled ? "agent.disabled" : "agent.enabled", {{"agent", identity}});
  }
  agents_ = std::make_shared<const EnrolledAgents>(std::move(next));
  hook_();
}

PlannedAgent ClusterAgents::planned_now(const AgentObject& object) const {
  const auto before = planned_.find(name_space_ + "/" + object.name);
  return plan_again(object, before == planned_.end() ? nullptr : &before->second);
}

// ---- joining

Granted<AgentRecord> ClusterAgents::look_up(const TokenClaim& claim) const {
  std::optional<TokenNote> token;
  std::optional<PlannedAgent> planned;
  for (const auto& [key, object] : objects()) {
    if (object.is_going || text_at(object_at(object.status, "joinToken"), "id") != claim.id) continue;
    token = token_of(object);
    planned = planned_now(object);
  }
  auto judged = judge(token ? &*token : nullptr, planned ? &*planned : nullptr, claim, now());
  if (!judged) return std::unexpected(std::move(judged.error()));
  return std::move(planned->record);  // NOLINT(bugprone-unchecked-optional-access): or it would have been denied.
}

/// A refusal takes the same time whatever is wrong.
asio::awaitable<Granted<AgentRecord>> ClusterAgents::check(TokenClaim claim) {
  if (!is_synced()) co_return unavailable("the server does not know the cluster's Agents yet");
  auto found = look_up(claim);
  if (found || found.error().reason != Reason::token_refused) co_return found;
  co_await wait_for(token_patience);
  co_return look_up(claim);
}

asio::awaitable<Granted<void>> ClusterAgents::take(TokenClaim claim, AgentRecord record, CertificateNote note) {
  std::string name = record.name;
  co_return co_await update(
      std::move(name), [&](const AgentObject& object, const PlannedAgent& planned) -> Granted<json::object> {
        const auto token = token_of(object);
        const bool is_same = !object.is_going && key_of(planned.record) == key_of(record);
        auto judged = judge(token ? &*token : nullptr, is_same ? &planned : nullptr, claim, now());
        if (!judged) return std::unexpected(std::move(judged.error()));
        return with_certificate(with_used_token(object.status, claim, now()), record, note);
      });
}

// ---- renewing

asio::awaitable<Granted<AgentRecord>> ClusterAgents::find(AgentIdentity identity) {
  if (!is_synced()) co_return unavailable("the server does not know the cluster's Agents yet");
  const std::string wanted = key_of(identity);
  const auto key = by_identity_.find(wanted);
  const auto object = key == by_identity_.end() ? objects().end() : objects().find(key->second);
  std::optional<PlannedAgent> planned;
  if (object != objects().end() && !object->second.is_going) planned = planned_now(object->second);
  if (!planned || !planned->is_accepted() || key_of(planned->record) != wanted)
    co_return std::unexpected(
        Denied{Reason::not_enrolled, false, "the server does not know this agent; add it there and join again"});
  if (!planned->record.enabled)
    co_return std::unexpected(
        Denied{Reason::agent_disabled, true, "the agent is disabled on the server; enable it there"});
  co_return std::move(planned->record);
}

asio::awaitable<void> ClusterAgents::note_renewal(AgentRecord record, CertificateNote note) {
  std::string name = record.name;
  auto noted = co_await update(
      std::move(name), [&](const AgentObject& object, const PlannedAgent& planned) -> Granted<json::object> {
        if (key_of(planned.record) != key_of(record))
          return std::unexpected(Denied{Reason::not_enrolled, false, "the object is another agent's now"});
        // Of two renewals at once the later certificate counts.
        const auto& known = planned.record.certificate;
        if (known && known->not_after > note.not_after) return object.status;
        return with_certificate(object.status, record, note);
      });
  if (!noted)
    log_.limited(Log::Level::warn, "kubernetes.status_failed", {{"object", record.name}, {"text", noted.error().text}});
}

/// Writes the status that `change` makes of the object as it is now, anew as long as somebody else is faster. The watch
/// may be behind, so the object comes from the API server.
asio::awaitable<Granted<void>> ClusterAgents::update(std::string name, Change change) {
  for (int tries = 1; tries <= tries_max; ++tries) {
    auto object = co_await get(name);
    if (!object) co_return std::unexpected(object.error());
    auto status = change(*object, planned_now(*object));
    if (!status) co_return std::unexpected(status.error());
    if (*status == object->status) co_return Granted<void>();
    const StatusWrite write{name, object->uid, object->version, object->status, std::move(*status)};
    auto answer = co_await client_->call("PATCH", path_of(name) + "/status", json::value(patch_of(write)),
                                         "application/merge-patch+json", call_time_max);
    if (answer && answer->is_good()) co_return Granted<void>();
    if (answer && answer->status == 409) continue;
    log_.limited(Log::Level::warn, "kubernetes.status_failed",
                 {{"object", name}, {"text", answer ? answer->error_text() : answer.error().text}});
    co_return unavailable("the cluster does not take the note of it");
  }
  co_return unavailable("the cluster's Agent changes all the time");
}

asio::awaitable<Granted<AgentObject>> ClusterAgents::get(std::string name) {
  auto answer = co_await client_->call("GET", path_of(name), std::nullopt, "application/json", call_time_max);
  if (answer && answer->status == 404)
    co_return std::unexpected(Denied{Reason::not_enrolled, false, "the cluster has no such Agent any more"});
  if (answer && answer->is_good() && answer->body.is_object()) co_return read_agent(answer->body.get_object());
  co_return unavailable("the cluster does not answer");
}

}  // namespace culvert::server
