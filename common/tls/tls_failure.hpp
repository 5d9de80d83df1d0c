// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/base/error.hpp"

struct ssl_st;

namespace culvert {

/// Why TLS failed, for a person, right after an SSL_… call on `ssl` returned `result` (<= 0, and not for want of bytes
/// or room), on the same thread. Empties OpenSSL's queue of errors. Codes:
///   tls.certificate_expired, tls.certificate_not_yet_valid, tls.unknown_ca, tls.wrong_name, tls.wrong_purpose,
///   tls.weak_certificate, tls.chain_too_long, tls.certificate_too_large, tls.bad_certificate   we refuse the peer's
///   certificate tls.no_client_certificate                                            the one that accepts wants a
///   certificate, and there was none tls.peer_refused                                                     the peer sent
///   an alert; the text names it tls.protocol_version, tls.no_application_protocol                    no common
///   version, or no common ALPN tls.not_tls                                                          plain text came,
///   HTTP for one tls.closed                                                           the peer closed without a word
///   tls.failed                                                           all else, in OpenSSL's words
Error describe_tls_failure(const ssl_st* ssl, int result);

}  // namespace culvert
