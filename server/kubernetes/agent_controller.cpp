// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/agent_controller.hpp"

#include <array>
#include <cstring>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/utc_time.hpp"
#include "common/enrolment/join_token.hpp"
#include "common/net/deadline.hpp"
#include "server/enrolment/new_token.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto interval = 500ms;

std::chrono::sys_seconds today() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

}  // namespace

AgentController::AgentController(ApiClient& client, Log& log, const KubernetesSettings& settings,
                                 ClusterEnrolment enrolment, const Lease& lease, const Replicas& replicas,
                                 ClusterAgents& agents, ConnectedAgents::Ours ours)
    : client_(client),
      log_(log),
      settings_(settings),
      enrolment_(std::move(enrolment)),
      lease_(lease),
      replicas_(replicas),
      agents_(agents),
      connected_(client, log, settings, lease, replicas, std::move(ours)) {}

void AgentController::start(TaskGroup& tasks) {
  connected_.start(tasks);
  tasks.spawn(keep());
}

asio::awaitable<void> AgentController::keep() {
  for (;;) {
    co_await wait_for(interval);
    if (!lease_.is_ours() || !is_synced() || !replicas_.is_synced()) continue;
    policy_.plan(agents_.objects(), agents_.planned());
    const std::vector<std::string> keys = policy_.keys();
    for (const std::string& key : keys) {
      if (!lease_.is_ours()) break;
      co_await keep_one(key);
    }
  }
}

asio::awaitable<void> AgentController::keep_one(std::string key) {
  while (auto work = policy_.next_work(key, Clock::now(), today())) {
    const std::string name = work->object.name;
    Result<bool> done = true;
    if (work->kind == AgentWork::Kind::make_token) {
      done = co_await make_token(key, std::move(*work));
    } else if (const auto removed = co_await remove_secret(join_secret_name(work->object)); removed) {
      policy_.note_removed(key);
    } else {
      done = std::unexpected(removed.error());
    }
    if (done && !*done) co_return;
    if (done) continue;
    policy_.note_failed(key, done.error(), Clock::now());
    log_.limited(Log::Level::warn, "agent.token_failed",
                 {{"object", name}, {"code", done.error().code}, {"text", done.error().text}});
  }
  static const std::vector<AgentConnection> none;
  const auto planned = agents_.planned().find(key);
  if (planned == agents_.planned().end()) co_return;
  const auto found = connected_.connections().find(key_of(planned->second.record));
  auto next =
      policy_.next_status(key, found == connected_.connections().end() ? none : found->second, Clock::now(), today());
  if (!next) co_return;
  std::string name = key.substr(key.find('/') + 1);
  (void)co_await write(std::move(*next), std::move(name));
}

// ---- tokens

AgentController::FreshToken AgentController::fresh_token(const AgentRecord& record) const {
  const NewToken made = culvert::server::make_token();
  TokenNote note{.id = made.id,
                 .hash = hash_of(made.secret),
                 .not_after = today() + enrolment_.join_token_lifetime,
                 .identity = key_of(record),
                 .secret_name = {},
                 .used_by = {}};
  std::string text = enrolment_.token_text(record, made.id, made.secret);
  Secret kept(std::vector<char>(text.begin(), text.end()));
  ::explicit_bzero(text.data(), text.size());
  return {std::move(note), std::move(kept)};
}

/// False: the object has changed or gone meanwhile, or another replica writes now. Decide again after the next event.
asio::awaitable<Result<bool>> AgentController::make_token(std::string key, AgentWork work) {
  const FreshToken token = fresh_token(work.record);
  auto noted = co_await write(AgentPolicy::token_write(work, token.note), work.object.name);
  if (!noted || !*noted) co_return noted;
  if (!lease_.is_ours()) co_return false;
  auto made = co_await create_secret(work.object, token);
  if (!made) co_return std::unexpected(made.error());
  policy_.note_made(key, token.note);
  log_.info("agent.token_made", {{"agent", token.note.identity},
                                 {"object", work.object.name},
                                 {"until", utc_text(token.note.not_after)},
                                 {"rejoin", work.record.certificate.has_value()}});
  co_return true;
}

/// A Secret of that name has an older token, or one whose writer has ended before it could note that.
asio::awaitable<Result<void>> AgentController::create_secret(const AgentObject& object, const FreshToken& token) {
  const std::string collection = fmt::format("/api/v1/namespaces/{}/secrets", settings_.name_space);
  for (int tries = 1;; ++tries) {
    auto answer = co_await client_.call("POST", collection, join_secret_of(object, token.note, token.text.reveal()));
    if (!answer) co_return std::unexpected(answer.error());
    if (answer->is_good()) co_return Result<void>();
    if (answer->status != 409 || tries == 2) co_return fail("kubernetes.refused", answer->error_text());
    auto removed = co_await remove_secret(join_secret_name(object));
    if (!removed) co_return removed;
  }
}

asio::awaitable<Result<void>> AgentController::remove_secret(std::string name) {
  const std::string path = fmt::format("/api/v1/namespaces/{}/secrets/{}", settings_.name_space, name);
  auto answer = co_await client_.call("DELETE", path);
  if (!answer) co_return std::unexpected(answer.error());
  if (!answer->is_good() && answer->status != 404) co_return fail("kubernetes.refused", answer->error_text());
  co_return Result<void>();
}

// ---- the status

/// False: it has changed or gone meanwhile, which the informer reports.
asio::awaitable<Result<bool>> AgentController::write(StatusWrite write, std::string name) {
  auto answer = co_await client_.call("PATCH", agents_.path_of(name) + "/status", json::value(patch_of(write)),
                                      "application/merge-patch+json");
  if (answer && (answer->status == 409 || answer->status == 404)) co_return false;
  if (!answer || !answer->is_good()) {
    const std::string text = answer ? answer->error_text() : answer.error().text;
    log_.limited(Log::Level::warn, "kubernetes.status_failed", {{"object", write.key}, {"text", text}});
    co_return fail("kubernetes.refused", text);
  }
  policy_.note_written(write, Clock::now());
  co_return true;
}

}  // namespace culvert::server
