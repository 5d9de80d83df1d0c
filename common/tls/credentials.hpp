// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include "common/base/error.hpp"
#include "common/tls/certificate.hpp"

struct ssl_ctx_st;

// PEM files into an SSL_CTX, with errors that name the file and say what to do. These functions block: call them off
// the workers.

namespace culvert {

/// Our own certificate (leaf first, then intermediates) and its key, with all checks that need no peer. Codes:
/// tls.file_unreadable, tls.not_pem, tls.key_encrypted, tls.key_mismatch, tls.certificate_expired,
/// tls.certificate_not_yet_valid, tls.weak_certificate, tls.failed.
Result<CertificateFacts> use_certificate(ssl_ctx_st* context, const std::filesystem::path& certificate,
                                         const std::filesystem::path& private_key);

/// What a CA file must hold: `authorities` only, or also single certificates that are trusted as they are (a back end
/// that signed its own).
enum class Anchors : std::uint8_t { authorities, any };

/// Peers are trusted when a certificate of `ca` stands above them, be it a root or an intermediate. Codes:
/// tls.file_unreadable, tls.not_pem, tls.ca_empty, tls.ca_not_an_authority, tls.certificate_expired (of all of them).
Result<void> trust_authority(ssl_ctx_st* context, const std::filesystem::path& ca, Anchors anchors);

}  // namespace culvert
