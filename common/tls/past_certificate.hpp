// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "common/base/error.hpp"
#include "common/tls/digest.hpp"
#include "common/tls/peer_identity.hpp"

struct ssl_st;

namespace culvert {

/// An agent's certificate whose time may be over.
struct PastCertificate {
  AgentIdentity identity;
  Sha256 issuer{};  ///< Digest of the public key of the authority above it.
};

/// Checks a certificate (DER) that an agent shows inside a join connection as the handshake of a tunnel would, only not
/// its time. `ssl` is the server's end. Whether the agent has the key is for is_signed_renewal() to say. Codes:
/// tls.not_der, tls.peer_certificate, and those of agent_identity().
Result<PastCertificate> past_certificate(const ssl_st* ssl, std::span<const std::byte> certificate,
                                         std::string_view trust_domain);

}  // namespace culvert
