// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "common/tls/certificate.hpp"
#include "common/tls/digest.hpp"

struct ssl_st;

namespace culvert {

/// A certificate that an authority has signed.
struct SignedCertificate {
  std::vector<std::byte> chain;  ///< It, and the intermediates above it up to but without a self-signed root; DER.
  std::string serial;            ///< Lower-case hex without leading zeros.
  std::chrono::sys_seconds not_before;
  std::chrono::sys_seconds not_after;
};

/// An authority with its key in memory: signs certificates of agents. Immutable; copies share the key.
class Authority {
 public:
  /// `certificate` is a PEM file: first the authority's own certificate, then perhaps the ones above it. Blocks. Codes:
  /// those of use_certificate(), and tls.not_an_authority (not a CA, or its key usage does not allow to sign).
  static Result<Authority> load(const std::filesystem::path& certificate, const std::filesystem::path& key);

  /// Signs `request`, which check_request() has accepted for `identity`: only its public key is taken. The certificate
  /// has the URI `identity`, clientAuth, a random serial of 128 bits, and is valid from 5 minutes before `now` until
  /// `now` + `lifetime`, or until the authority's own end if that is sooner. Takes milliseconds: call it off the loops.
  /// Codes: tls.certificate_expired (the authority), tls.failed.
  Result<SignedCertificate> sign(std::span<const std::byte> request, std::string_view identity,
                                 std::chrono::seconds lifetime, std::chrono::sys_seconds now) const;

  const CertificateFacts& facts() const;

 private:
  struct Parts;
  explicit Authority(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const Parts> parts_;
};

/// Certificates of a PEM file, in its order, as DER one after the other. Blocks. Codes: those of trust_authority().
Result<std::vector<std::byte>> read_certificates(const std::filesystem::path& file);
/// The first certificate of a PEM file, whatever it is for, as DER. Blocks. Codes: tls.file_unreadable, tls.not_pem.
Result<std::vector<std::byte>> read_certificate(const std::filesystem::path& file);
/// Certificates in DER, one after the other, as the text of a PEM file. Code "tls.not_der".
Result<std::string> to_pem(std::span<const std::byte> certificates);
/// Digests of the public keys (DER of SubjectPublicKeyInfo) of certificates in DER, in their order. Code "tls.not_der".
Result<std::vector<Sha256>> key_pins(std::span<const std::byte> certificates);
/// Facts of the first certificate. Code "tls.not_der".
Result<CertificateFacts> facts_of(std::span<const std::byte> certificates);

/// Digest of the public key of the authority that has signed the peer's verified certificate; zeros if there is none.
Sha256 issuer_pin(const ssl_st* ssl);

}  // namespace culvert
