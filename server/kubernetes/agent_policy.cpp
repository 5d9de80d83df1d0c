// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/agent_policy.hpp"

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/base/utc_time.hpp"
#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;
using Kind = AgentWork::Kind;

namespace {

/// How long our own write may take to come back through the watch.
constexpr std::chrono::seconds echo_time_max{10};

bool wants_rejoin(const AgentObject& object) {
  return !object.rejoin.empty() && object.rejoin != text_at(object.status, "rejoinHandled");
}

/// Nobody can use it any more, or nobody may.
bool is_over(const TokenNote& token, const PlannedAgent& planned, AgentPolicy::Date date) {
  return !token.used_by.empty() || date >= token.not_after || !planned.is_accepted() ||
         token.identity != key_of(planned.record);
}

/// The command that has a new token made.
std::string rejoin_command(const AgentObject& object) {
  return fmt::format("kubectl annotate --overwrite --namespace={} agents.culvert.dev {} culvert.dev/rejoin=\"$(date)\"",
                     object.name_space, object.name);
}

Condition joined_condition(const AgentObject& object, const PlannedAgent& planned,
                           const std::optional<TokenNote>& token, const std::string& failure, AgentPolicy::Date date) {
  Condition joined{"Joined", false, planned.reason, planned.message};
  if (!planned.is_accepted()) return joined;
  if (planned.record.certificate) return {"Joined", true, "Joined", ""};
  if (!failure.empty()) return {"Joined", false, "TokenFailed", failure};
  const bool is_usable = token && !is_over(*token, planned, date);
  if (is_usable && !token->secret_name.empty()) {
    return {"Joined", false, "TokenIssued",
            fmt::format("the join token in the Secret {} can be used until {}; for another one: {}", token->secret_name,
                        utc_text(token->not_after), rejoin_command(object))};
  }
  if (!planned.record.enabled) return {"Joined", false, "Disabled", "the agent gets a join token once it is enabled"};
  if (token && !is_usable && token->identity == key_of(planned.record)) {
    return {"Joined", false, "TokenExpired",
            fmt::format("the join token was not used in time; for another one: {}", rejoin_command(object))};
  }
  return {"Joined", false, "NoToken", "the join token is being made"};
}

Condition connected_condition(const PlannedAgent& planned, bool is_connected) {
  if (!planned.is_accepted()) return {"Connected", false, planned.reason, ""};
  if (is_connected) return {"Connected", true, "Connected", ""};
  if (!planned.record.enabled) return {"Connected", false, "Disabled", "spec.enabled is false"};
  return {"Connected", false, "NotConnected", "no replica has a tunnel of this agent"};
}

Condition certificate_condition(const PlannedAgent& planned, AgentPolicy::Date date) {
  if (!planned.is_accepted()) return {"CertificateValid", false, planned.reason, ""};
  const auto& certificate = planned.record.certificate;
  if (!certificate) return {"CertificateValid", false, "NotJoined", "the agent has not joined yet"};
  if (date < certificate->not_after) return {"CertificateValid", true, "Valid", ""};
  return {"CertificateValid", false, "Expired", fmt::format("it was valid until {}", utc_text(certificate->not_after))};
}

/// "culvert-agent 0.4.0" is shown as "0.4.0"; blanks have become '_' on the way.
std::string shown_version(std::string_view software) {
  constexpr std::string_view ours = "culvert-agent_";
  if (software.starts_with(ours)) software.remove_prefix(ours.size());
  return std::string(software);
}

}  // namespace

void AgentPolicy::plan(const AgentObjects& objects, const PlannedAgents& planned) {
  objects_ = &objects;
  planned_ = &planned;
  const auto is_gone = [&](const auto& entry) { return !objects.contains(entry.first); };
  std::erase_if(left_, is_gone);
  std::erase_if(rest_, is_gone);
}

std::vector<std::string> AgentPolicy::keys() const {
  std::vector<std::string> keys;
  if (planned_ == nullptr) return keys;
  keys.reserve(planned_->size());
  for (const auto& [key, planned] : *planned_) keys.push_back(key);
  return keys;
}

/// nullptr: there is nothing to do about it.
const AgentObject* AgentPolicy::find(const std::string& key) const {
  if (objects_ == nullptr || !planned_->contains(key)) return nullptr;
  const auto found = objects_->find(key);
  return found == objects_->end() || found->second.is_going ? nullptr : &found->second;
}

PlannedAgent AgentPolicy::planned_now(const std::string& key, const AgentObject& object) const {
  return plan_again(object, &planned_->at(key));
}

/// Whether our last write has not come back yet. What the object has until then must not be taken for the truth.
bool AgentPolicy::is_awaited(const Left& left, const AgentObject& object, Time now) const {
  return left.written == object.version && now - left.written_at <= echo_time_max;
}

AgentPolicy::Left& AgentPolicy::left_for(const std::string& key, const AgentObject& object) {
  Left& left = left_[key];
  if (left.uid != object.uid) left = {.uid = object.uid};
  return left;
}

bool AgentPolicy::has_secret(const Left& left, const TokenNote& token) {
  if (left.token != token.id || left.secret == SecretIs::as_in_status) return !token.secret_name.empty();
  return left.secret == SecretIs::there;
}

std::optional<AgentWork> AgentPolicy::next_work(const std::string& key, Time now, Date date) {
  const AgentObject* object = find(key);
  if (object == nullptr) return std::nullopt;
  Left& left = left_for(key, *object);
  if (is_awaited(left, *object, now) || now < left.again) return std::nullopt;
  const PlannedAgent planned = planned_now(key, *object);
  const auto token = token_of(*object);
  const bool is_dead = token && is_over(*token, planned, date);
  const auto work = [&](Kind kind) { return AgentWork{kind, *object, planned.record}; };
  if (planned.is_accepted() && planned.record.enabled) {
    const bool was_for_another = token && token->identity != key_of(planned.record);
    const bool is_first = !planned.record.certificate && (!token || was_for_another);
    // A writer has ended between the token's two writes, and nobody knows its secret.
    const bool is_lost = token && !is_dead && !has_secret(left, *token);
    if (is_first || is_lost || wants_rejoin(*object)) return work(Kind::make_token);
  }
  if (is_dead && has_secret(left, *token)) return work(Kind::remove_secret);
  return std::nullopt;
}

StatusWrite AgentPolicy::token_write(const AgentWork& work, const TokenNote& token) {
  const AgentObject& object = work.object;
  json::object status = with_new_token(object.status, token);
  if (!object.rejoin.empty()) status["rejoinHandled"] = object.rejoin;
  return {object.name_space + "/" + object.name, object.uid, object.version, object.status, std::move(status)};
}

void AgentPolicy::note_made(const std::string& key, const TokenNote& token) {
  Left& left = left_[key];
  left.token = token.id;
  left.secret = SecretIs::there;
  left.failure.clear();
  rest_.erase(key);
}

void AgentPolicy::note_removed(const std::string& key) {
  const AgentObject* object = find(key);
  if (object == nullptr) return;
  Left& left = left_for(key, *object);
  const auto token = token_of(*object);
  left.token = token ? token->id : "";
  left.secret = SecretIs::gone;
  left.failure.clear();
  rest_.erase(key);
}

void AgentPolicy::note_failed(const std::string& key, const Error& error, Time now) {
  Left& left = left_[key];
  left.failure = error.text;
  left.again = now + retry;
}

json::object AgentPolicy::status_of(const AgentObject& object, const PlannedAgent& planned, const Left& left,
                                    const std::vector<AgentConnection>& connections, Date date) const {
  json::object status = object.status;
  auto token = token_of(object);
  if (token) {
    json::object& written = status["joinToken"].as_object();
    if (has_secret(left, *token))
      written["secretName"] = token->secret_name = join_secret_name(object);
    else
      written.erase("secretName");
    token->secret_name = text_at(written, "secretName");
  }
  const bool is_connected = planned.is_accepted() && !connections.empty();
  const bool was_connected = text_at(condition_in(object.status, "Connected"), "status") == "True";
  const auto seen = read_utc(text_at(object.status, "lastSeen"));
  if (is_connected != was_connected || (is_connected && (!seen || date - *seen >= seen_interval)))
    status["lastSeen"] = utc_text(date);
  json::array replicas;
  if (is_connected) {
    for (const AgentConnection& each : connections) replicas.emplace_back(each.replica);
    status["version"] = shown_version(connections.front().software);
  }
  status["replicas"] = std::move(replicas);
  status["observedGeneration"] = object.generation;
  status["conditions"] =
      write_conditions({joined_condition(object, planned, token, left.failure, date),
                        connected_condition(planned, is_connected), certificate_condition(planned, date)},
                       object.status, object.generation, utc_text(date));
  return status;
}

std::optional<StatusWrite> AgentPolicy::next_status(const std::string& key,
                                                    const std::vector<AgentConnection>& connections, Time now,
                                                    Date date) {
  const AgentObject* object = find(key);
  if (object == nullptr) return std::nullopt;
  Left& left = left_for(key, *object);
  if (is_awaited(left, *object, now)) return std::nullopt;
  const PlannedAgent& before = planned_->at(key);
  Settled inputs{object->version, before.reason, before.message, left.failure, connections};
  const auto rest = rest_.find(key);
  if (rest != rest_.end() && rest->second.inputs == inputs && date < rest->second.until) return std::nullopt;
  const PlannedAgent planned = planned_now(key, *object);
  auto status = status_of(*object, planned, left, connections, date);
  if (status != object->status)
    return StatusWrite{key, object->uid, object->version, object->status, std::move(status)};
  Date until = date + seen_interval;
  const auto note_end = [&](Date end) {
    if (end > date) until = std::min(until, end);
  };
  if (const auto token = token_of(*object)) note_end(token->not_after);
  if (planned.record.certificate) note_end(planned.record.certificate->not_after);
  if (const auto seen = read_utc(text_at(object->status, "lastSeen"))) note_end(*seen + seen_interval);
  rest_.insert_or_assign(key, Rest{std::move(inputs), until});
  return std::nullopt;
}

void AgentPolicy::note_written(const StatusWrite& write, Time now) {
  Left& left = left_[write.key];
  if (left.uid != write.uid) left = {.uid = write.uid};
  left.written = write.version;
  left.written_at = now;
}

}  // namespace culvert::server
