// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "common/base/error.hpp"

struct ssl_st;

namespace culvert {

/// Why TLS failed, for people. Call it right after an SSL_… call on `ssl` returned `result` (<= 0, and not because
/// bytes or room were missing), on the same thread. Empties OpenSSL's error queue. `opening`: the peer's first bytes,
/// if they are at hand; they tell which protocol a peer without TLS speaks. Codes:
///
///   tls.certificate_expired, tls.certificate_not_yet_valid, tls.unknown_ca, tls.wrong_name, tls.wrong_purpose,
///   tls.weak_certificate, tls.chain_too_long, tls.certificate_too_large, tls.bad_certificate
///                                   we refuse the peer's certificate
///   tls.wrong_pin                   the server is not below the authority that the join token pins
///   tls.no_client_certificate       the accepting side requires a certificate, and the client presented none
///   tls.peer_refused                the peer sent an alert; the text names it
///   tls.protocol_version            no common version
///   tls.legacy_renegotiation        a server without secure renegotiation (RFC 5746)
///   tls.no_application_protocol     no common ALPN
///   tls.not_tls                     plain text arrived, for example HTTP
///   tls.closed                      the peer ended TLS or the connection
///   tls.failed                      any other failure, in OpenSSL's words
Error describe_tls_failure(const ssl_st* ssl, int result, std::span<const std::byte> opening = {});

}  // namespace culvert
