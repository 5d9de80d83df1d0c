// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include <boost/json/object.hpp>

#include "common/tls/digest.hpp"
#include "server/enrolment/agent_store.hpp"

// From Agent objects to the agents that may connect, and to their join tokens and back. Pure: no network, no clock.

namespace culvert::server {

/// An object of agents.culvert.dev/v1alpha1.
struct AgentObject {
  std::string name_space;
  std::string name;
  std::string uid;
  std::string version;  ///< resourceVersion
  std::string created;  ///< RFC 3339, as the API server writes it: texts compare as times do.
  std::int64_t generation = 0;
  std::string account;
  std::string location;
  std::string agent;     ///< Default: the object's name.
  bool enabled = false;  ///< Default: true. Anything else than a truth value disables the agent.
  std::string lifetime;  ///< As written; empty: the server's setting.
  std::string rejoin;    ///< The annotation culvert.dev/rejoin.
  boost::json::object status;
  bool is_going = false;  ///< Has a deletionTimestamp.
  friend bool operator==(const AgentObject&, const AgentObject&) = default;
};
AgentObject read_agent(const boost::json::object& object);

/// The outcome of reading an object and comparing it with the others.
struct PlannedAgent {
  AgentRecord record;  ///< With the certificate only if it was made for this account, location and agent.
  std::string reason;  ///< "Accepted", or one word for why the object does not count.
  std::string message;
  bool is_accepted() const { return reason == "Accepted"; }
  friend bool operator==(const PlannedAgent&, const PlannedAgent&) = default;
};
/// What the object says, whatever the others say.
PlannedAgent plan_agent(const AgentObject& object);
using AgentObjects = std::map<std::string, AgentObject>;
using PlannedAgents = std::map<std::string, PlannedAgent>;
/// One per object, by "namespace/name". Where two name the same agent, the older one counts.
PlannedAgents plan_agents(const AgentObjects& objects);
/// The same for one object that may have changed since `before`, its part of the last plan, was made; nullptr: it was
/// not there. That it is a duplicate is taken from there.
PlannedAgent plan_again(const AgentObject& object, const PlannedAgent* before);
/// The agents of the objects that count and are not being deleted.
EnrolledAgents enrolled_of(const AgentObjects& objects, const PlannedAgents& planned);

/// A join token as the status has it (status.joinToken). The secret itself is only in the Secret.
struct TokenNote {
  std::string id;
  Sha256 hash{};
  std::chrono::sys_seconds not_after;
  std::string identity;     ///< key_of() the record for which it was made.
  std::string secret_name;  ///< Name of the Secret with the token while that exists.
  std::string used_by;      ///< Digest of the key that has used it, in hex; empty: nobody has.
  friend bool operator==(const TokenNote&, const TokenNote&) = default;
};
/// Nothing: there is none, or it cannot be read, and then nobody can use it.
std::optional<TokenNote> token_of(const AgentObject& object);
/// Whether the claim's key may use the token at this time: token_refused, token_used, token_expired, agent_disabled.
/// nullptr: there is no such token; the answer and the work are those of a wrong secret.
Granted<void> judge(const TokenNote* token, const PlannedAgent* planned, const TokenClaim& claim,
                    std::chrono::sys_seconds now);

// The status with what a replica notes in it; all other members stay.
boost::json::object with_certificate(boost::json::object status, const AgentRecord& record,
                                     const CertificateNote& note);
boost::json::object with_used_token(boost::json::object status, const TokenClaim& claim, std::chrono::sys_seconds now);
boost::json::object with_new_token(boost::json::object status, const TokenNote& token);

/// "culvert-join-NAME"
std::string join_secret_name(const AgentObject& object);
/// The Secret with the token's text, owned by the Agent.
boost::json::object join_secret_of(const AgentObject& object, const TokenNote& token, std::string_view text);

/// In lower case.
std::string hex_of(std::span<const std::byte> bytes);

}  // namespace culvert::server
