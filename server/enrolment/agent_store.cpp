// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/agent_store.hpp"

#include <fmt/core.h>

namespace culvert::server {

namespace {

// A segment has no slash, so that an empty location makes no two keys equal.
std::string key_of(std::string_view account, std::string_view location, std::string_view agent) {
  return fmt::format("{}/{}/{}", account, location, agent);
}

}  // namespace

EnrolledAgents::Verdict EnrolledAgents::verdict(const AgentIdentity& identity) const {
  const auto found = enabled.find(key_of(identity));
  if (found == enabled.end()) return Verdict::unknown;
  return found->second ? Verdict::enrolled : Verdict::disabled;
}

std::string key_of(const AgentRecord& record) {
  return key_of(record.account, record.location, record.agent);
}

std::string key_of(const AgentIdentity& identity) {
  return key_of(identity.account, identity.location, identity.agent);
}

std::string spiffe_id_of(const AgentRecord& record, std::string_view trust_domain) {
  const std::string location = record.location.empty() ? "" : fmt::format("/location/{}", record.location);
  return fmt::format("spiffe://{}/account/{}{}/agent/{}", trust_domain, record.account, location, record.agent);
}

}  // namespace culvert::server
