// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/application_policy.hpp"

#include <utility>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

ApplicationPolicy::Reasons ApplicationPolicy::reasons_in(const boost::json::object& status) {
  Reasons reasons;
  for (const char* type : {"Accepted", "SecretsFound"}) {
    const boost::json::object& condition = condition_in(status, type);
    if (text_at(condition, "status") == "False")
      reasons.emplace(type, RefusalReason{text_at(condition, "reason"), text_at(condition, "message")});
  }
  return reasons;
}

std::optional<ApplicationWrite> ApplicationPolicy::next_write(const std::string& key, const ApplicationObject& object,
                                                              const ApplicationReport& report, Time now,
                                                              std::string_view date) {
  if (object.is_going) return std::nullopt;
  Tried& tried = tried_[key];
  const bool is_same = tried.uid == object.uid && tried.version == object.version && tried.report == report;
  if (is_same && now < tried.again) return std::nullopt;
  ApplicationObject known = object;
  known.status = written_.known(key, object.uid, object.status, now);
  auto status = application_status(known, report, date);
  const auto told = told_.find(key);
  const bool is_told = told != told_.end() && told->second.uid == object.uid;
  const Reasons before = is_told ? told->second.reasons : reasons_in(known.status);
  ApplicationWrite write;
  for (auto& [type, reason] : reasons_in(status)) {
    const auto older = before.find(type);
    if (older == before.end() || older->second != reason) write.events.push_back(reason);
  }
  write.has_new_status = status != known.status;
  if (!write.has_new_status && write.events.empty()) return std::nullopt;
  write.status = {key, object.uid, object.version, std::move(known.status), std::move(status)};
  tried = {object.uid, object.version, report, now + retry};
  return write;
}

void ApplicationPolicy::note(const ApplicationWrite& write, Outcome outcome, Time now) {
  const StatusWrite& status = write.status;
  if (outcome == Outcome::failed) return;
  Tried& tried = tried_[status.key];
  tried.again = now + patience;
  if (outcome == Outcome::done) written_.note(status, now);
  told_.insert_or_assign(status.key, Told{status.uid, reasons_in(status.status)});
}

void ApplicationPolicy::keep_only(const std::function<bool(const std::string& key)>& exists) {
  written_.keep_only(exists);
  std::erase_if(tried_, [&](const auto& entry) { return !exists(entry.first); });
  std::erase_if(told_, [&](const auto& entry) { return !exists(entry.first); });
}

}  // namespace culvert::server
