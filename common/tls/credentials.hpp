// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "common/base/error.hpp"
#include "common/tls/certificate.hpp"
#include "common/tls/openssl_objects.hpp"

struct ssl_ctx_st;

// Loads PEM files into an SSL_CTX, with errors that name the file and say what to do. These functions block: call them
// off the workers.

namespace culvert {

/// Loads our own certificate (leaf first, then intermediates) and its key, with all checks that need no peer. Codes:
/// tls.file_unreadable, tls.not_pem, tls.key_encrypted, tls.key_mismatch, tls.certificate_expired,
/// tls.certificate_not_yet_valid, tls.weak_certificate, tls.failed.
Result<CertificateFacts> use_certificate(ssl_ctx_st* context, const std::filesystem::path& certificate,
                                         const std::filesystem::path& private_key);

/// The same for texts that are in memory already; the names stand in errors instead of files.
struct PemPair {
  std::string_view certificate;
  std::string_view private_key;
  std::filesystem::path certificate_name;
  std::filesystem::path key_name;
};
Result<CertificateFacts> use_certificate(ssl_ctx_st* context, const PemPair& pair);

/// What a CA file may contain: `authorities` only, or `any` certificate, so that a self-signed back end can be trusted.
enum class Anchors : std::uint8_t { authorities, any };

/// The certificates of a CA file, in its order. Codes: tls.file_unreadable, tls.not_pem, tls.ca_empty,
/// tls.ca_not_an_authority, tls.certificate_expired (all of them have expired).
Result<std::vector<UniqueX509>> load_anchors(const std::filesystem::path& ca, Anchors anchors);

/// Trusts peers whose chain contains a certificate of `ca`, be it a root or an intermediate. Codes: those of
/// load_anchors().
Result<void> trust_authority(ssl_ctx_st* context, const std::filesystem::path& ca, Anchors anchors);

}  // namespace culvert
