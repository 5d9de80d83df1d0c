// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "common/tls/digest.hpp"
#include "common/tls/peer_identity.hpp"
#include "protocol/enrolment.hpp"

namespace culvert::server {

/// A result, or the answer to the agent.
template <typename T>
using Granted = std::expected<T, protocol::Denied>;

/// The certificate that an agent got last.
struct CertificateNote {
  std::string serial;
  std::chrono::sys_seconds issued_at;
  std::chrono::sys_seconds not_after;
  friend bool operator==(const CertificateNote&, const CertificateNote&) = default;
};

/// An agent that may connect, or has been disabled.
struct AgentRecord {
  std::string name;  ///< Unique; of the object, or of the file in the state directory.
  std::string account;
  std::string location;  ///< "" is the default location.
  std::string agent;
  bool enabled = true;
  std::optional<std::chrono::seconds> lifetime;  ///< Of its certificates; otherwise the server's setting.
  std::optional<CertificateNote> certificate;    ///< None: it has never joined.
  friend bool operator==(const AgentRecord&, const AgentRecord&) = default;
};

/// What a JOIN proves: the id of a token, the hash of the secret, and the public key that asks.
struct TokenClaim {
  std::string id;
  Sha256 secret{};
  Sha256 key{};
};

/// Agents that may connect, for the check of each tunnel. A snapshot. Keyed by the path of the SPIFFE id, see key_of().
struct EnrolledAgents {
  enum class Verdict : std::uint8_t { enrolled, disabled, unknown };
  std::map<std::string, bool, std::less<>> enabled;
  Verdict verdict(const AgentIdentity& identity) const;
};

/// "account/location/agent"; two agents are the same if this is.
std::string key_of(const AgentRecord& record);
std::string key_of(const AgentIdentity& identity);
/// "spiffe://<trust domain>/account/…".
std::string spiffe_id_of(const AgentRecord& record, std::string_view trust_domain);

/// Knows the agents and their join tokens: in a state directory, or as objects of a cluster. Used at home. Every
/// coroutine throws operation_aborted when it is stopped. The answer to an unknown id and to a wrong secret is the
/// same, `token_refused`, after the same work (threats E17); only the right secret gets a more precise answer.
class AgentStore {
 public:
  virtual ~AgentStore() = default;

  /// Checks the claim without using the token up: token_refused, token_used (by another key), token_expired,
  /// agent_disabled, enrolment_unavailable.
  virtual boost::asio::awaitable<Granted<AgentRecord>> check(TokenClaim claim) = 0;
  /// Uses the token up for the claim's key, and notes the certificate. Of several calls with different keys, in all
  /// replicas, exactly one succeeds; the same key succeeds again until the token's end, since an answer may be lost.
  virtual boost::asio::awaitable<Granted<void>> take(TokenClaim claim, AgentRecord record, CertificateNote note) = 0;
  /// The record of an agent that renews: not_enrolled, agent_disabled, enrolment_unavailable.
  virtual boost::asio::awaitable<Granted<AgentRecord>> find(AgentIdentity identity) = 0;
  /// Notes the certificate of a renewal. That it cannot be noted does not keep the agent from getting it.
  virtual boost::asio::awaitable<void> note_renewal(AgentRecord record, CertificateNote note) = 0;

  /// Agents that may connect now; nullptr: they are not known yet.
  virtual std::shared_ptr<const EnrolledAgents> agents() const = 0;
};

}  // namespace culvert::server
