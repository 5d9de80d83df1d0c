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

// The peer's identity, from its verified certificate and from nothing else.

namespace culvert {

/// An agent's identity, from the one URI of its certificate:
/// spiffe://<trust-domain>/account/<account>[/location/<location>]/agent/<agent>.
struct AgentIdentity {
  std::string account;
  /// "" is the default location; its only spelling is a URI without /location/….
  std::string location;
  std::string agent;
  std::string spiffe_id;               ///< The URI itself.
  std::string serial;                  ///< The certificate's serial, lower-case hex without leading zeros.
  std::chrono::sys_seconds not_after;  ///< The end of the certificate's validity.

  friend bool operator==(const AgentIdentity&, const AgentIdentity&) = default;
};

/// Reads the identity from a certificate that has been verified already; `trust_domain` is ours. Codes:
///   identity.missing              no URI among the subject alternative names
///   identity.ambiguous            more than one
///   identity.malformed            the names cannot be decoded, or the URI is too long
///   identity.not_spiffe           another scheme, or spiffe in capitals
///   identity.forbidden_character  outside of [A-Za-z0-9._-] and the slashes: a NUL, a percent, a query, a port, a user
///   identity.wrong_trust_domain   another one than ours
///   identity.wrong_segment        an empty segment, "." or ".."
///   identity.wrong_path           not account, perhaps location, then agent, each with its value
Result<AgentIdentity> agent_identity(const x509_st* certificate, std::string_view trust_domain);

/// The same for the peer of a connection after its handshake. Without a certificate: identity.missing.
Result<AgentIdentity> agent_identity(const ssl_st* ssl, std::string_view trust_domain);

/// Returns whether `text` is a valid name of an account, a location or an agent: [A-Za-z0-9._-]+, and neither "." nor
/// "..".
bool is_identity_segment(std::string_view text);

/// Requires the server's certificate to be for `name`, a DNS name or an IP literal without brackets. Call it before the
/// handshake of a dialled connection. A DNS name is sent as SNI, an address never. Code tls.server_name_malformed.
Result<void> set_expected_server_name(ssl_st* ssl, std::string_view name);

/// Identities that are refused even with a valid certificate (table [deny]). An immutable value; copies are deep.
class Denials {
 public:
  Denials() = default;
  /// Serials are in hex, in upper or lower case, with or without colons and leading zeros; agents are SPIFFE ids,
  /// compared literally.
  Denials(std::span<const std::string> serials, std::span<const std::string> spiffe_ids);

  [[nodiscard]] bool denies(const AgentIdentity& identity) const {
    return serials_.contains(identity.serial) || spiffe_ids_.contains(identity.spiffe_id);
  }

 private:
  std::unordered_set<std::string> serials_;
  std::unordered_set<std::string> spiffe_ids_;
};

}  // namespace culvert
