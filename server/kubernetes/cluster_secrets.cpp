// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/cluster_secrets.hpp"

#include <algorithm>
#include <utility>

#include <boost/json/object.hpp>

#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;
using State = ClusterSecret::State;

namespace {

constexpr int ok = 200;
constexpr int not_found = 404;

/// Values that are not base64, which the API server never serves, are left out.
ClusterSecret read_secret(const json::object& object) {
  ClusterSecret secret{.state = State::there, .version = text_at(object_at(object, "metadata"), "resourceVersion")};
  for (const auto& member : object_at(object, "data")) {
    const json::string* text = member.value().if_string();
    auto bytes = text == nullptr ? std::nullopt : decode_base64(std::string_view(*text));
    if (!bytes) continue;
    secret.values.emplace(member.key(), Secret::of(*bytes));
    std::ranges::fill(*bytes, '\0');
  }
  return secret;
}

}  // namespace

const Secret* ClusterSecret::find(std::string_view key) const {
  const auto found = values.find(key);
  return found == values.end() ? nullptr : &found->second;
}

void ClusterSecrets::follow(const std::set<std::string>& names, Time now) {
  std::erase_if(followed_, [&](const auto& each) { return !names.contains(each.first); });
  for (const std::string& name : names) followed_.try_emplace(name, Followed{.secret = {}, .due = now});
}

void ClusterSecrets::look_now(Time now) {
  const Time when = looked_ == Time::min() ? now : std::max(now, looked_ + look_interval);
  looked_ = when;
  for (auto& [name, followed] : followed_) followed.due = std::min(followed.due, when);
}

std::vector<std::string> ClusterSecrets::due(Time now) const {
  std::vector<std::string> names;
  for (const auto& [name, followed] : followed_) {
    if (followed.due <= now) names.push_back(name);
  }
  return names;
}

ClusterSecrets::Time ClusterSecrets::next_due() const {
  Time next = Time::max();
  for (const auto& [name, followed] : followed_) next = std::min(next, followed.due);
  return next;
}

bool ClusterSecrets::note_answer(const std::string& name, int status, const json::value& body, std::string text,
                                 Time now) {
  const auto found = followed_.find(name);
  if (found == followed_.end()) return false;
  ClusterSecret& known = found->second.secret;
  found->second.due = now + retry;
  if (status == ok && body.is_object()) {
    found->second.due = now + interval;
    ClusterSecret secret = read_secret(body.get_object());
    const bool is_same = known.state == State::there && known.version == secret.version;
    if (!is_same) known = std::move(secret);
    return !is_same;
  }
  if (status == not_found) {
    if (known.state == State::missing) return false;
    known = {.state = State::missing};
    return true;
  }
  if (known.state == State::there) return false;
  const bool is_same = known.state == State::refused && known.refusal == text;
  known = {.state = State::refused, .refusal = std::move(text)};
  return !is_same;
}

void ClusterSecrets::note_failure(const std::string& name, Time now) {
  const auto found = followed_.find(name);
  if (found != followed_.end()) found->second.due = now + retry;
}

const ClusterSecret* ClusterSecrets::find(std::string_view name) const {
  const auto found = followed_.find(name);
  return found == followed_.end() ? nullptr : &found->second.secret;
}

bool ClusterSecrets::are_read(const std::set<std::string>& names) const {
  return std::ranges::all_of(names, [this](const std::string& name) {
    const ClusterSecret* secret = find(name);
    return secret != nullptr && secret->state != State::unread;
  });
}

}  // namespace culvert::server
