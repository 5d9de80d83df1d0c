// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/status_write.hpp"

#include <utility>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {
/// How long our own write may take to come back through the watch.
constexpr std::chrono::seconds echo_time_max{10};

/// A merge patch merges objects within objects, too: at each depth, a member that `after` does not have is null.
json::object with_removals(const json::object& before, json::object after) {
  for (const auto& member : before) {
    json::value* there = after.if_contains(member.key());
    if (there == nullptr)
      after[member.key()] = nullptr;
    else if (there->is_object() && member.value().is_object())
      *there = with_removals(member.value().get_object(), std::move(there->get_object()));
  }
  return after;
}

}  // namespace

json::object patch_of(const StatusWrite& write) {
  return {{"metadata", {{"resourceVersion", write.version}}}, {"status", with_removals(write.before, write.status)}};
}

std::optional<RefusalReason> new_refusal(const StatusWrite& write) {
  const json::object& accepted = condition_in(write.status, "Accepted");
  RefusalReason refusal{text_at(accepted, "reason"), text_at(accepted, "message")};
  if (text_at(accepted, "status") != "False") return std::nullopt;
  if (refusal.reason == text_at(condition_in(write.before, "Accepted"), "reason")) return std::nullopt;
  return refusal;
}

void WrittenStatuses::note(const StatusWrite& write, Time now) {
  written_[write.key] = {write.uid, write.status, now};
}

const json::object& WrittenStatuses::known(const std::string& key, const std::string& uid, const json::object& seen,
                                           Time now) {
  // NOLINTBEGIN(bugprone-return-const-ref-from-parameter): callers use it at once.
  const auto ours = written_.find(key);
  if (ours == written_.end()) return seen;
  const bool is_awaited = ours->second.uid == uid && now - ours->second.at <= echo_time_max;
  if (is_awaited && seen != ours->second.status) return ours->second.status;
  written_.erase(ours);
  return seen;
  // NOLINTEND(bugprone-return-const-ref-from-parameter)
}

void WrittenStatuses::keep_only(const std::function<bool(const std::string& key)>& exists) {
  std::erase_if(written_, [&](const auto& entry) { return !exists(entry.first); });
}

}  // namespace culvert::server
