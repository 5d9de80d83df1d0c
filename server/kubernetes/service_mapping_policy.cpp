// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_mapping_policy.hpp"

#include <algorithm>
#include <utility>

namespace culvert::server {

void ServiceMappingPolicy::plan(const Objects& objects) {
  planned_.clear();
  addresses_.clear();
  std::set<std::string> wanted;
  for (PlannedMapping& planned : plan_service_mappings(objects, settings_)) {
    const std::string& address = objects.at(planned.key).internal_address;
    if (planned.is_accepted()) {
      wanted.insert(address);
      if (planned.target && !planned.target->service.empty()) addresses_[planned.target->service].insert(address);
    }
    const std::string key = planned.key;
    planned_.emplace(key, Planned{std::move(planned), address});
  }
  std::erase_if(targets_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  for (const std::string& address : wanted) {
    if (targets_.try_emplace(address).second) queue(address);
  }
  const auto exists = [this](const std::string& key) { return planned_.contains(key); };
  written_.keep_only(exists);
  std::erase_if(settled_, [&](const auto& entry) { return !exists(entry.first); });
}

// ---- targets

void ServiceMappingPolicy::queue(const std::string& text) {
  if (queued_.insert(text).second) to_look_up_.push_back(text);
}

std::optional<ServiceMappingPolicy::Lookup> ServiceMappingPolicy::next_lookup() {
  while (!to_look_up_.empty()) {
    std::string text = std::move(to_look_up_.front());
    to_look_up_.pop_front();
    queued_.erase(text);
    auto address = parse_internal_address(text, settings_);
    if (address && targets_.contains(text)) return Lookup{std::move(text), std::move(*address)};
  }
  return std::nullopt;
}

void ServiceMappingPolicy::look_up_all() {
  for (const auto& [address, target] : targets_) queue(address);
}

void ServiceMappingPolicy::look_up_service(const std::string& service) {
  const auto found = addresses_.find(service);
  if (found == addresses_.end()) return;
  for (const std::string& address : found->second) queue(address);
}

bool ServiceMappingPolicy::take_target(const std::string& text, MappingTarget found, bool is_complete) {
  const auto known = targets_.find(text);
  if (known == targets_.end()) return false;
  Target& target = known->second;
  // While the API server cannot be asked, a named port stays what it was.
  if (found.port == 0) found.port = target.found.port;
  const bool is_other = found.port != target.found.port || found.endpoints != target.found.endpoints;
  target = {std::move(found), is_complete};
  return is_other;
}

// ---- the table

/// Whether a table made now would lack ports or endpoints that are being looked up. The first one waits for them a
/// while, because after a reload it replaces one that has them.
bool ServiceMappingPolicy::lacks_targets() const {
  return std::ranges::any_of(planned_, [this](const auto& entry) {
    const auto& [mapping, address] = entry.second;
    const bool needs_target = settings_.endpoint_slices || mapping.mapping.internal_address.port == 0;
    return mapping.is_accepted() && needs_target && !targets_.at(address).is_known;
  });
}

std::vector<ServiceMapping> ServiceMappingPolicy::make_table() const {
  std::vector<ServiceMapping> table;
  for (const auto& [key, planned] : planned_) {
    if (!planned.mapping.is_accepted()) continue;
    ServiceMapping mapping = planned.mapping.mapping;
    const auto& [target, is_known] = targets_.at(planned.address);
    if (mapping.internal_address.port == 0) mapping.internal_address.port = target.port;
    mapping.endpoints = target.endpoints;
    // By its name the Service might lead to a pod, at a port that the Service maps to another one.
    const auto& address = planned.mapping.target;
    if (settings_.endpoint_slices && !is_known && address && !address->service.empty()) mapping.endpoints.emplace();
    if (mapping.internal_address.port != 0) table.push_back(std::move(mapping));
  }
  return table;
}

ServiceMappingPolicy::TableStep ServiceMappingPolicy::next_table(bool is_complete, Time now) {
  if (!is_complete) return TableStep::wait;
  if (!patient_until_) patient_until_ = now + first_table_time_max;
  if (!table_ && lacks_targets() && now < *patient_until_) return TableStep::look_again;
  std::vector<ServiceMapping> table = make_table();
  if (table == table_) return TableStep::wait;
  table_ = std::move(table);
  return TableStep::publish;
}

// ---- the status

std::vector<std::string> ServiceMappingPolicy::keys() const {
  std::vector<std::string> keys;
  keys.reserve(planned_.size());
  for (const auto& [key, planned] : planned_) keys.push_back(key);
  return keys;
}

/// Nothing: the plan is of an earlier version of the object, or its target has not been looked up yet.
std::optional<MappingFacts> ServiceMappingPolicy::facts_of(const ServiceMappingObject& object,
                                                           const PlannedMapping& planned,
                                                           const HasAgent& has_agent) const {
  if (!planned.is_accepted()) return MappingFacts{};
  const auto target = targets_.find(object.internal_address);
  if (target == targets_.end() || !target->second.is_known) return std::nullopt;
  const bool is_connected = std::ranges::any_of(planned.mapping.locations, [&](const std::string& location) {
    return has_agent(planned.mapping.account, location);
  });
  return MappingFacts{target->second.found.is_resolved, target->second.found.why_not, is_connected};
}

std::optional<StatusWrite> ServiceMappingPolicy::next_status(const ServiceMappingObject& object,
                                                             const HasAgent& has_agent, Time now,
                                                             std::string_view date) {
  const auto plan = planned_.find(object.name);
  if (plan == planned_.end() || object.is_going) return std::nullopt;
  const PlannedMapping& planned = plan->second.mapping;
  auto facts = facts_of(object, planned, has_agent);
  if (!facts) return std::nullopt;
  Settled inputs{object.version, planned.reason, planned.message, std::move(*facts)};
  if (const auto settled = settled_.find(object.name); settled != settled_.end() && settled->second == inputs)
    return std::nullopt;

  ServiceMappingObject known = object;
  known.status = written_.known(object.name, object.uid, object.status, now);
  auto status = status_of(known, planned, inputs.facts, settings_, date);
  if (status == known.status) {
    settled_[object.name] = std::move(inputs);
    return std::nullopt;
  }
  return StatusWrite{object.name, object.uid, object.version, std::move(known.status), std::move(status)};
}

}  // namespace culvert::server
