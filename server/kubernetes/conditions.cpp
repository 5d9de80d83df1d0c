// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/conditions.hpp"

#include <algorithm>
#include <utility>

#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

json::object write(const Condition& condition, const json::object& before, std::int64_t generation,
                   std::string_view now) {
  const std::string_view status = condition.holds ? "True" : "False";
  const json::object& old = condition_in(before, condition.type);
  const bool is_same = text_at(old, "status") == status;
  return {{"type", condition.type},
          {"status", status},
          {"reason", condition.reason},
          {"message", condition.message},
          {"lastTransitionTime", is_same ? text_at(old, "lastTransitionTime") : std::string(now)},
          {"observedGeneration", generation}};
}

}  // namespace

json::array write_conditions(std::vector<Condition> conditions, const json::object& before, std::int64_t generation,
                             std::string_view now) {
  const auto fault = std::ranges::find(conditions, false, &Condition::holds);
  Condition ready{"Ready", true, "Ready", ""};
  if (fault != conditions.end()) ready = {"Ready", false, fault->reason, fault->message};
  conditions.push_back(std::move(ready));
  json::array written;
  for (const Condition& condition : conditions) written.push_back(write(condition, before, generation, now));
  return written;
}

const json::object& condition_in(const json::object& status, std::string_view type) {
  static const json::object none;
  const json::array* all = array_at(status, "conditions");
  if (all == nullptr) return none;
  const auto found = std::ranges::find_if(
      *all, [type](const json::value& each) { return each.is_object() && text_at(each.get_object(), "type") == type; });
  return found == all->end() ? none : found->get_object();
}

}  // namespace culvert::server
