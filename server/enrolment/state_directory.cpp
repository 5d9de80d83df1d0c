// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/state_directory.hpp"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include "common/admin/defect.hpp"
#include "common/base/utc_time.hpp"

namespace culvert::server {

namespace asio = boost::asio;
using protocol::Denied;
using protocol::Reason;

namespace {

/// Names that an error lists.
constexpr std::size_t names_shown_max = 10;

std::unexpected<Denied> deny(Reason reason, std::string text) {
  // An agent may be enabled again, and then the same request succeeds.
  return std::unexpected(
      Denied{reason, reason == Reason::agent_disabled || reason == Reason::enrolment_unavailable, std::move(text)});
}

std::unexpected<Denied> deny_disabled() {
  return deny(Reason::agent_disabled, "the agent is disabled on the server; enable it there");
}

}  // namespace

/// A change that waits for its turn, or is being written. Its caller owns it.
struct StateDirectory::Change {
  Change(const asio::any_io_executor& executor, Decision decision, Deadline deadline)
      : decide(std::move(decision)), ended(executor, deadline) {}
  Decision decide;
  std::optional<Result<void>> outcome;
  asio::steady_timer ended;  ///< Cancelled when there is an outcome.
};

Result<std::unique_ptr<StateDirectory>> StateDirectory::open(std::filesystem::path directory,
                                                             const asio::any_io_executor& home, Log& log,
                                                             StateDirectoryOptions options) {
  auto files = StateFiles::open(std::move(directory), options.write);
  if (!files) return std::unexpected(std::move(files.error()));
  auto agents = files->load();
  if (!agents) return std::unexpected(std::move(agents.error()));
  return std::unique_ptr<StateDirectory>(
      new StateDirectory(std::move(*files), std::move(*agents), home, log, std::move(options)));
}

StateDirectory::StateDirectory(StateFiles files, std::vector<StoredAgent> agents, const asio::any_io_executor& home,
                               Log& log, StateDirectoryOptions options)
    : files_(std::move(files)),
      log_(log),
      options_(std::move(options)),
      home_(home),
      tasks_(home, report_defect(log, "state directory")) {
  for (StoredAgent& agent : agents) {
    index(agent);
    by_name_.emplace(agent.record.name, std::move(agent));
  }
  publish();
}

std::chrono::sys_seconds StateDirectory::now() const {
  return std::chrono::floor<std::chrono::seconds>(options_.now());
}

// ---- AgentStore

asio::awaitable<Granted<AgentRecord>> StateDirectory::check(TokenClaim claim) {
  const auto found = judge(claim);
  if (!found) co_return std::unexpected(found.error());
  co_return (*found)->record;
}

asio::awaitable<Granted<void>> StateDirectory::take(TokenClaim claim, AgentRecord record, CertificateNote note) {
  Granted<void> answer = deny(Reason::enrolment_unavailable, "the server cannot store that the token is used");
  Decision decide = [&]() -> Result<Replacement> {
    // Again, since the agent may have changed since check().
    const auto found = judge(claim);
    if (!found) {
      answer = std::unexpected(found.error());
      return std::unexpected(Error{std::string(to_string(found.error().reason)), found.error().text});
    }
    StoredAgent agent = **found;
    if (key_of(agent.record) != key_of(record)) {
      answer = deny(Reason::token_refused, "the join token is for another agent");
      return std::unexpected(Error{std::string(to_string(Reason::token_refused)), answer.error().text});
    }
    agent.record.certificate = std::move(note);
    agent.joined = now();
    agent.token->used_by = claim.key;
    if (!agent.token->used_at) agent.token->used_at = agent.joined;
    std::string name = agent.record.name;
    return Replacement{std::move(name), std::move(agent)};
  };
  const auto written = co_await change(std::move(decide));
  if (written) answer = {};
  co_return answer;
}

asio::awaitable<Granted<AgentRecord>> StateDirectory::find(AgentIdentity identity) {
  const StoredAgent* const agent = by_key(key_of(identity));
  if (agent == nullptr)
    co_return deny(Reason::not_enrolled, "the server does not know this agent; add it there and join again");
  if (!agent->record.enabled) co_return deny_disabled();
  co_return agent->record;
}

asio::awaitable<void> StateDirectory::note_renewal(AgentRecord record, CertificateNote note) {
  Decision decide = [&]() -> Result<Replacement> {
    const StoredAgent* const found = by_key(key_of(record));
    if (found == nullptr) return unknown(record.name);
    StoredAgent agent = *found;
    agent.record.certificate = std::move(note);
    std::string name = agent.record.name;
    return Replacement{std::move(name), std::move(agent)};
  };
  (void)co_await change(std::move(decide));
}

/// The same work and the same answer for an unknown id and a wrong secret (threats E17).
Granted<const StoredAgent*> StateDirectory::judge(const TokenClaim& claim) const {
  const auto named = name_by_token_.find(claim.id);
  const StoredAgent* const agent = named == name_by_token_.end() ? nullptr : &by_name_.find(named->second)->second;
  const StoredToken* const stored = agent != nullptr && agent->token ? &*agent->token : nullptr;
  const Sha256 nothing{};
  const bool is_right = are_equal(stored == nullptr ? nothing : stored->secret, claim.secret);
  if (stored == nullptr || !is_right)
    return deny(Reason::token_refused, "the server does not accept this join token; have a new one made there");
  const StoredToken& token = *stored;
  if (token.used_by && *token.used_by != claim.key)
    return deny(Reason::token_used, "the join token was used already; have a new one made on the server");
  if (now() >= token.not_after)
    return deny(Reason::token_expired,
                fmt::format("the join token's time was over at {}; have a new one made on the server",
                            utc_text(token.not_after)));
  if (!agent->record.enabled) return deny_disabled();
  return agent;
}

// ---- Commands

asio::awaitable<Result<NewToken>> StateDirectory::add(AgentRecord record) {
  if (record.agent.empty()) record.agent = record.name;
  NewToken token = make_token();
  Decision decide = [&]() -> Result<Replacement> {
    if (auto accepted = check_new(record); !accepted) return std::unexpected(std::move(accepted.error()));
    token.not_after = now() + options_.join_token_lifetime;
    StoredAgent agent{.record = record, .created = now(), .joined = {}, .token = stored_token_of(token)};
    agent.record.certificate.reset();
    return Replacement{record.name, std::move(agent)};
  };
  const auto written = co_await change(std::move(decide));
  if (!written) co_return std::unexpected(written.error());
  log_.info("agent.token_made",
            {{"agent", key_of(record)}, {"name", record.name}, {"until", utc_text(token.not_after)}});
  co_return token;
}

asio::awaitable<Result<NewToken>> StateDirectory::new_token(std::string name) {
  NewToken token = make_token();
  std::string key;
  Decision decide = [&]() -> Result<Replacement> {
    auto agent = show(name);
    if (!agent) return std::unexpected(std::move(agent.error()));
    key = key_of(agent->record);
    token.not_after = now() + options_.join_token_lifetime;
    agent->token = stored_token_of(token);
    return Replacement{name, std::move(*agent)};
  };
  const auto written = co_await change(std::move(decide));
  if (!written) co_return std::unexpected(written.error());
  log_.info("agent.token_made", {{"agent", key}, {"name", name}, {"until", utc_text(token.not_after)}});
  co_return token;
}

asio::awaitable<Result<void>> StateDirectory::set_enabled(std::string name, bool enabled) {
  std::string key;
  Decision decide = [&]() -> Result<Replacement> {
    auto agent = show(name);
    if (!agent) return std::unexpected(std::move(agent.error()));
    key = key_of(agent->record);
    agent->record.enabled = enabled;
    return Replacement{name, std::move(*agent)};
  };
  auto written = co_await change(std::move(decide));
  if (written) log_.info(enabled ? "agent.enabled" : "agent.disabled", {{"agent", key}, {"name", name}});
  co_return written;
}

asio::awaitable<Result<void>> StateDirectory::remove(std::string name) {
  std::string key;
  Decision decide = [&]() -> Result<Replacement> {
    const auto agent = show(name);
    if (!agent) return std::unexpected(agent.error());
    key = key_of(agent->record);
    return Replacement{name, std::nullopt};
  };
  auto written = co_await change(std::move(decide));
  if (written) log_.info("agent.removed", {{"agent", key}, {"name", name}});
  co_return written;
}

Result<StoredAgent> StateDirectory::show(std::string_view name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return unknown(name);
  return found->second;
}

std::vector<StoredAgent> StateDirectory::list() const {
  std::vector<StoredAgent> all;
  all.reserve(by_name_.size());
  for (const auto& [name, agent] : by_name_) all.push_back(agent);
  return all;
}

Result<void> StateDirectory::check_new(const AgentRecord& record) const {
  const bool has_location = !record.location.empty();
  if (!is_agent_name(record.name) || !is_agent_name(record.account) || !is_agent_name(record.agent) ||
      (has_location && !is_agent_name(record.location)))
    return fail("enrolment.malformed",
                fmt::format("a name, an account, a location and an agent have 1 to {} characters of A-Z, a-z, 0-9, "
                            "\".\", \"_\" and \"-\"",
                            agent_name_bytes_max));
  if (by_name_.contains(record.name))
    return fail("enrolment.exists",
                fmt::format("agent \"{}\" exists already; `agents token {}` makes a new join token for it", record.name,
                            record.name));
  if (const StoredAgent* same = by_key(key_of(record)))
    return fail(
        "enrolment.exists",
        fmt::format("agent \"{}\" has the same account, location and agent; change one of them", same->record.name));
  return {};
}

std::unexpected<Error> StateDirectory::unknown(std::string_view name) const {
  std::string names;
  for (const auto& [known, agent] : by_name_) names += (names.empty() ? "" : ", ") + known;
  std::string hint = by_name_.size() > names_shown_max ? "`agents list` shows them" : "there are: " + names;
  if (by_name_.empty()) hint = "there are none yet";
  return fail("enrolment.unknown", fmt::format("there is no agent \"{}\"; {}", name, hint));
}

// ---- Changes

asio::awaitable<Result<void>> StateDirectory::change(Decision decide) {
  const auto not_written = [&](std::string_view why) {
    return fail("enrolment.not_written",
                fmt::format("the change was not written to {}: {}", files_.directory().string(), why));
  };
  if (tasks_.is_stopping()) co_return not_written("the server is stopping");
  if (queue_.size() >= changes_waiting_max) co_return not_written("too many changes wait; try again later");
  const auto waiting =
      std::make_shared<Change>(home_, std::move(decide), std::chrono::steady_clock::now() + options_.write_max);
  queue_.push_back(waiting);
  if (!std::exchange(is_writing_, true)) tasks_.spawn(write_changes());
  // What is refused is over before spawn() returns.
  if (!waiting->outcome) (void)co_await waiting->ended.async_wait(asio::as_tuple(asio::use_awaitable));
  if (auto& outcome = waiting->outcome; outcome) co_return std::move(*outcome);
  co_await throw_if_stopped();
  co_return not_written(fmt::format("the disk took longer than {} ms, and may still finish; look before you repeat it",
                                    options_.write_max.count()));
}

asio::awaitable<void> StateDirectory::write_changes() {
  while (!queue_.empty()) {
    const auto change = queue_.front().lock();
    queue_.pop_front();
    if (!change) continue;
    change->outcome = co_await carry_out(change->decide);
    change->ended.cancel();
  }
  is_writing_ = false;
}

asio::awaitable<Result<void>> StateDirectory::carry_out(Decision& decide) {
  auto replacement = decide();
  if (!replacement) co_return std::unexpected(std::move(replacement.error()));
  // Without a deadline: what the thread has begun is known only when it ends.
  std::function<Result<void>()> work = [this, next = *replacement] {
    return next.agent ? files_.write(*next.agent) : files_.remove(next.name);
  };
  auto written = co_await offload_.run(std::move(work), Deadline::max());
  if (!written) co_return fail("enrolment.not_written", "the state directory's thread gave no answer");
  if (*written) put(std::move(*replacement));
  co_return std::move(*written);
}

void StateDirectory::put(Replacement replacement) {
  std::optional<bool> was_enabled;
  std::optional<bool> is_enabled;
  if (const auto old = by_name_.find(replacement.name); old != by_name_.end()) {
    was_enabled = old->second.record.enabled;
    name_by_key_.erase(key_of(old->second.record));
    if (const auto& token = old->second.token; token) name_by_token_.erase(token->id);
    by_name_.erase(old);
  }
  if (replacement.agent) {
    StoredAgent& agent = *replacement.agent;
    is_enabled = agent.record.enabled;
    index(agent);
    by_name_.emplace(std::move(replacement.name), std::move(agent));
  }
  if (was_enabled != is_enabled) publish();
  if (on_change_) on_change_();
}

void StateDirectory::index(const StoredAgent& agent) {
  name_by_key_.emplace(key_of(agent.record), agent.record.name);
  if (agent.token) name_by_token_.emplace(agent.token->id, agent.record.name);
}

void StateDirectory::publish() {
  auto all = std::make_shared<EnrolledAgents>();
  for (const auto& [name, agent] : by_name_) all->enabled.emplace(key_of(agent.record), agent.record.enabled);
  agents_ = std::move(all);
}

const StoredAgent* StateDirectory::by_key(const std::string& key) const {
  const auto found = name_by_key_.find(key);
  return found == name_by_key_.end() ? nullptr : &by_name_.find(found->second)->second;
}

}  // namespace culvert::server
