// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>

#include "common/base/error.hpp"

struct ssl_st;
struct x509_st;

// Who the peer is, by its verified certificate and by nothing else.

namespace culvert {

/// An agent as the one URI of its certificate names it:
/// spiffe://<trust-domain>/account/<account>[/location/<location>]/agent/<agent>.
struct AgentIdentity {
  std::string account;
  std::string location;  ///< "" is the default location; it is written by leaving /location/… out, and only so.
  std::string agent;
  std::string spiffe_id;               ///< The URI itself.
  std::string serial;                  ///< Of the certificate, lower-case hex without leading zeros.
  std::chrono::sys_seconds not_after;  ///< Of the certificate.

  friend bool operator==(const AgentIdentity&, const AgentIdentity&) = default;
};

/// Reads the identity out of a certificate that has been verified already; `trust_domain` is ours. Codes:
///   identity.missing              no URI among the subject alternative names
///   identity.ambiguous            more than one
///   identity.malformed            the names cannot be decoded, or the URI is too long
///   identity.not_spiffe           another scheme, or spiffe in capitals
///   identity.forbidden_character  outside of [A-Za-z0-9._-] and the slashes: a NUL, a percent, a query, a port, a user
///   identity.wrong_trust_domain   another one than ours
///   identity.wrong_segment        an empty segment, "." or ".."
///   identity.wrong_path           not account, perhaps location, then agent, each with its value
Result<AgentIdentity> agent_identity(const x509_st* certificate, std::string_view trust_domain);

/// The same for the peer of a connection whose handshake is done. No certificate: identity.missing.
Result<AgentIdentity> agent_identity(const ssl_st* ssl, std::string_view trust_domain);

/// [A-Za-z0-9._-]+, and neither "." nor "..": what an account, a location or an agent may be called.
bool is_identity_segment(std::string_view text);

/// Before the handshake of a connection that dials: the certificate must be for `name`, a DNS name or an IP literal
/// without brackets. A DNS name is sent as SNI, an address never. Code tls.server_name_malformed.
Result<void> set_expected_server_name(ssl_st* ssl, std::string_view name);

/// Identities that are refused whatever their certificate says (table [deny]). An immutable value; copies are deep.
class Denials {
 public:
  Denials() = default;
  /// Serials in hex, in any case, with or without colons and leading zeros; agents as SPIFFE ids, taken literally.
  Denials(std::span<const std::string> serials, std::span<const std::string> spiffe_ids);

  [[nodiscard]] bool denies(const AgentIdentity& identity) const {
    return serials_.contains(identity.serial) || spiffe_ids_.contains(identity.spiffe_id);
  }

 private:
  std::unordered_set<std::string> serials_;
  std::unordered_set<std::string> spiffe_ids_;
};

}  // namespace culvert
