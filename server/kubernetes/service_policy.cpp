// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_policy.hpp"

#include <set>
#include <utility>

#include <fmt/core.h>

#include "server/kubernetes/destination_object.hpp"
#include "server/kubernetes/object.hpp"
#include "server/kubernetes/on_premise_object.hpp"

namespace culvert::server {

using Kind = ServiceWork::Kind;

template <typename Object>
ServicePolicy<Object>::ServicePolicy(Rules rules) : rules_(std::move(rules)), pool_(rules_.ports) {}

template <typename Object>
void ServicePolicy<Object>::plan(Objects objects) {
  objects_ = std::move(objects);
  planned_ = rules_.plan(objects_);
  // Also those of refused objects, until their statuses do without: something may still lead there.
  std::set<std::uint16_t> in_use;
  for (const auto& [key, object] : objects_) {
    const std::int64_t port = number_at(object.status, "port");
    if (port >= rules_.ports.low && port <= rules_.ports.high) in_use.insert(static_cast<std::uint16_t>(port));
  }
  std::erase_if(given_, [&](const auto& entry) {
    const auto& [key, given] = entry;
    const auto planned = planned_.find(key);
    return planned == planned_.end() || !planned->second.is_accepted() || planned->second.port.port != 0 ||
           objects_.at(key).uid != given.uid || in_use.contains(given.port);
  });
  for (const auto& [key, given] : given_) in_use.insert(given.port);
  pool_.update(in_use);
  const auto exists = [this](const std::string& key) { return planned_.contains(key); };
  std::erase_if(left_, [&](const auto& entry) { return !exists(entry.first); });
  written_.keep_only(exists);
}

template <typename Object>
std::vector<std::string> ServicePolicy<Object>::keys() const {
  std::vector<std::string> keys;
  keys.reserve(planned_.size());
  for (const auto& [key, planned] : planned_) keys.push_back(key);
  return keys;
}

template <typename Object>
std::optional<std::vector<OnPremisePort>> ServicePolicy<Object>::next_ports() {
  std::vector<OnPremisePort> ports;
  for (const auto& [key, planned] : planned_) {
    if (planned.is_accepted() && planned.port.port != 0) ports.push_back(planned.port);
  }
  if (ports == ports_) return std::nullopt;
  ports_ = ports;
  return ports;
}

/// An accepted object without a port gets one; without one that is left it is refused.
template <typename Object>
PlannedService ServicePolicy<Object>::with_port(const Object& object, PlannedService planned) {
  if (!planned.is_accepted() || planned.port.port != 0) return planned;
  Given& given = given_[planned.port.name];
  if (given.port == 0) given = {object.uid, pool_.take()};
  planned.port.port = given.port;
  if (given.port != 0) return planned;
  given_.erase(planned.port.name);
  planned.reason = "NoPortLeft";
  planned.message = fmt::format("every port of the server's {} is in use", rules_.table);
  return planned;
}

template <typename Object>
bool ServicePolicy<Object>::has_status_port(const Object& object, Time now) {
  const std::string key = object.name_space + "/" + object.name;
  return number_at(written_.known(key, object.uid, object.status, now), "port") != 0;
}

template <typename Object>
ServiceWork ServicePolicy<Object>::begin(Left& left, Kind kind, const Object& object) {
  left.kind = kind;
  left.is_open = true;
  return {kind, object, left.planned, left.replicas};
}

template <typename Object>
std::optional<ServiceWork> ServicePolicy<Object>::next_work(const std::string& key,
                                                            const std::vector<Replica>& replicas, Time now) {
  const auto object = objects_.find(key);
  if (object == objects_.end() || object->second.is_going) return std::nullopt;
  PlannedService planned = with_port(object->second, planned_.at(key));
  Left& left = left_[key];
  const bool is_same = left.uid == object->second.uid && left.generation == object->second.generation &&
                       left.planned == planned && left.replicas == replicas && now < left.again && !left.is_open;
  if (!is_same) {
    left = {.uid = object->second.uid,
            .generation = object->second.generation,
            .planned = std::move(planned),
            .replicas = replicas,
            .again = now + retry};
    if (left.planned.is_accepted()) return begin(left, Kind::publish, object->second);
  }
  const bool leads_nowhere = !left.planned.is_accepted() || left.facts.reason == "NameTaken";
  if (!leads_nowhere || left.is_withdrawn || (is_same && left.kind == Kind::withdraw)) return std::nullopt;
  left.is_withdrawn = !has_status_port(object->second, now);
  if (left.is_withdrawn) return std::nullopt;
  return begin(left, Kind::withdraw, object->second);
}

template <typename Object>
void ServicePolicy<Object>::note_done(const std::string& key, const Result<void>& outcome, Time now) {
  const auto found = left_.find(key);
  if (found == left_.end()) return;  // The object has gone meanwhile.
  Left& left = found->second;
  left.is_open = false;
  left.again = now + retry;
  if (left.kind == Kind::withdraw) {
    left.is_withdrawn = outcome.has_value();
    return;
  }
  left.facts = {};
  if (!outcome) {
    left.facts.reason = outcome.error().code == "kubernetes.name_taken" ? "NameTaken" : "Failed";
    left.facts.why_not = outcome.error().text;
  } else if (left.replicas.empty()) {
    left.facts.reason = "NoReplica";
    left.facts.why_not = "no replica of the server is ready";
  } else {
    left.facts.is_published = true;
    left.again = now + look_again;
  }
}

template <typename Object>
std::optional<StatusWrite> ServicePolicy<Object>::next_status(const std::string& key, const HasAgent& has_agent,
                                                              Time now, std::string_view date) {
  const auto found = objects_.find(key);
  const auto left = left_.find(key);
  if (found == objects_.end() || found->second.is_going || left == left_.end()) return std::nullopt;
  Object object = found->second;
  object.status = written_.known(key, object.uid, object.status, now);
  PlannedService planned = left->second.planned;
  PublishedFacts facts = left->second.facts;
  if (facts.reason == "NameTaken") {
    planned.reason = facts.reason;
    planned.message = facts.why_not;
    planned.port.port = 0;
  }
  // As long as something may lead to its port, the status keeps it, so that no other object gets it.
  if (!planned.is_accepted() && !left->second.is_withdrawn)
    planned.port.port = static_cast<std::uint16_t>(number_at(object.status, "port"));
  facts.has_agent = planned.is_accepted() && has_agent(planned.port.route.account, planned.port.route.location);
  auto status = status_of(object, planned, facts, date);
  if (status == object.status) return std::nullopt;
  return StatusWrite{key, object.uid, object.version, std::move(object.status), std::move(status)};
}

template class ServicePolicy<OnPremiseObject>;
template class ServicePolicy<DestinationObject>;

}  // namespace culvert::server
