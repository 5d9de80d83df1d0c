// SPDX-License-Identifier: Apache-2.0
#include "common/tls/authority.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/tls/credentials.hpp"
#include "common/tls/extensions.hpp"
#include "common/tls/openssl_objects.hpp"
#include "common/tls/pem_file.hpp"
#include "common/tls/verify_peer.hpp"
#include "protocol/limits.hpp"

namespace culvert {
namespace {

namespace fs = std::filesystem;

constexpr int security_bits_min = 112;  // As at the security level of our connections.
constexpr int wide_curve_bits = 384;    // From here on SHA-256 would be the weaker part.
constexpr std::size_t serial_bytes = 16;
constexpr std::size_t key_id_bytes = 20;           // RFC 7093, method 1: the left part of SHA-256.
constexpr std::size_t common_name_bytes_max = 64;  // RFC 5280, ub-common-name.
constexpr std::size_t above_bytes_max = protocol::certificates_bytes_max - protocol::certificate_bytes_max;

using Bytes = std::vector<std::byte>;

void append_der(Bytes& out, const X509* certificate) {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(certificate, &encoded);
  const auto bytes = std::as_bytes(std::span(encoded, static_cast<std::size_t>(std::max(size, 0))));
  out.insert(out.end(), bytes.begin(), bytes.end());
  OPENSSL_free(encoded);
}

/// At least one certificate, and nothing but certificates.
Result<std::vector<UniqueX509>> parse_certificates(std::span<const std::byte> bytes) {
  std::vector<UniqueX509> certificates;
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  const unsigned char* const end = at + bytes.size();
  while (at != end) {
    UniqueX509 certificate(d2i_X509(nullptr, &at, end - at));
    ERR_clear_error();
    if (!certificate)
      return fail("tls.not_der", fmt::format("certificate number {} is not X.509 in DER", certificates.size() + 1));
    certificates.push_back(std::move(certificate));
  }
  if (certificates.empty()) return fail("tls.not_der", "there is no certificate");
  return certificates;
}

bool is_root(X509* certificate) {
  return X509_self_signed(certificate, 0) == 1;
}

/// Takes the certificates above `certificate` out of `others`, the nearest first, without a root.
std::vector<UniqueX509> take_chain(X509* certificate, std::vector<UniqueX509> others) {
  std::vector<UniqueX509> chain;
  X509* top = certificate;
  while (!is_root(top)) {
    const auto issuer = std::ranges::find_if(others, [&](const UniqueX509& other) {
      return other && X509_check_issued(other.get(), top) == X509_V_OK &&
             X509_verify(top, X509_get0_pubkey(other.get())) == 1;
    });
    if (issuer == others.end() || is_root(issuer->get())) break;
    chain.push_back(std::move(*issuer));
    top = chain.back().get();
  }
  ERR_clear_error();
  return chain;
}

/// Whether the certificate may sign others at all, and is strong enough for those who check what it has signed.
Result<void> check_authority(const fs::path& path, X509* certificate) {
  const bool is_authority = (X509_get_extension_flags(certificate) & (EXFLAG_CA | EXFLAG_INVALID)) == EXFLAG_CA;
  const std::string subject = certificate_facts(certificate).subject;
  if (!is_authority && has_purpose(certificate, Purpose::server)) {
    return fail("tls.not_an_authority",
                fmt::format("{}: \"{}\" is the certificate of a server, not of an authority; was authority_certificate "
                            "swapped with the server's own certificate?",
                            path.string(), subject));
  }
  if (!is_authority) {
    return fail("tls.not_an_authority",
                fmt::format("{}: \"{}\" is not an authority's certificate (basicConstraints lacks CA:TRUE); its own "
                            "certificate comes first in the file",
                            path.string(), subject));
  }
  if ((X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) == 0) {
    return fail("tls.not_an_authority",
                fmt::format("{}: \"{}\" may not sign certificates: its key usage lacks keyCertSign; have it issued "
                            "again with it",
                            path.string(), subject));
  }
  int signature_bits = 0;
  X509_get_signature_info(certificate, nullptr, nullptr, &signature_bits, nullptr);
  const EVP_PKEY* const key = X509_get0_pubkey(certificate);
  if (key == nullptr || EVP_PKEY_get_security_bits(key) < security_bits_min ||
      (!is_root(certificate) && signature_bits < security_bits_min)) {
    return fail("tls.weak_certificate", fmt::format("{}: \"{}\" is too weak; have it issued with EC P-256 or RSA of at "
                                                    "least 2048 bits, and SHA-256",
                                                    path.string(), subject));
  }
  return {};
}

/// Nothing for keys whose signatures have their hash built in, like Ed25519.
const EVP_MD* hash_for(const EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1) return nullptr;
  return EVP_PKEY_is_a(key, "EC") == 1 && EVP_PKEY_get_bits(key) >= wide_curve_bits ? EVP_sha384() : EVP_sha256();
}

bool set_serial(X509* certificate) {
  std::array<unsigned char, serial_bytes> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
  const Owned<BIGNUM> number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_subject(X509* certificate, std::string_view identity) {
  const std::string_view name = identity.substr(identity.rfind('/') + 1).substr(0, common_name_bytes_max);
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(name.data()), static_cast<int>(name.size()),
                                    -1, 0) == 1;
}

bool add_extension(X509* certificate, X509_EXTENSION* extension) {
  return extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
}

bool add_text(X509* certificate, int kind, const char* value) {
  const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, nullptr, kind, value));
  return add_extension(certificate, extension.get());
}

bool add_key_ids(X509* certificate, X509* authority) {
  const Sha256 digest = key_pin(certificate);
  const std::unique_ptr<ASN1_STRING, decltype(&ASN1_STRING_free)> own(ASN1_OCTET_STRING_new(), &ASN1_STRING_free);
  if (!own ||
      ASN1_OCTET_STRING_set(own.get(), reinterpret_cast<const unsigned char*>(digest.data()), key_id_bytes) != 1 ||
      X509_add1_ext_i2d(certificate, NID_subject_key_identifier, own.get(), 0, X509V3_ADD_DEFAULT) != 1)
    return false;
  const ASN1_OCTET_STRING* const above = X509_get0_subject_key_id(authority);
  if (above == nullptr) return true;
  const std::unique_ptr<AUTHORITY_KEYID, decltype(&AUTHORITY_KEYID_free)> issuer(AUTHORITY_KEYID_new(),
                                                                                 &AUTHORITY_KEYID_free);
  if (!issuer) return false;
  issuer->keyid = ASN1_OCTET_STRING_dup(above);
  return issuer->keyid != nullptr &&
         X509_add1_ext_i2d(certificate, NID_authority_key_identifier, issuer.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

bool add_extensions(X509* certificate, X509* authority, std::string_view identity) {
  return add_text(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
         add_text(certificate, NID_key_usage, "critical,digitalSignature") &&
         add_text(certificate, NID_ext_key_usage, "clientAuth") && add_key_ids(certificate, authority) &&
         add_extension(certificate, make_uri_name(identity).get());
}

bool set_time(ASN1_TIME* field, std::chrono::sys_seconds time) {
  return ASN1_TIME_set(field, std::chrono::system_clock::to_time_t(time)) != nullptr;
}

}  // namespace

struct Authority::Parts {
  fs::path file;
  UniqueX509 certificate;
  UniqueKey key;
  CertificateFacts facts;
  Bytes above;  ///< What follows a certificate that this authority has signed.
};

Result<Authority> Authority::load(const fs::path& certificate, const fs::path& key) {
  Result<std::vector<UniqueX509>> chain = load_certificates(certificate, "authority's certificate");
  if (!chain) return std::unexpected(std::move(chain.error()));
  if (chain->empty()) {
    return fail("tls.not_pem", fmt::format("{}: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)",
                                           certificate.string()));
  }
  UniqueX509 own = std::move(chain->front());
  chain->erase(chain->begin());
  if (Result<void> right = check_authority(certificate, own.get()); !right)
    return std::unexpected(std::move(right.error()));
  Result<UniqueKey> loaded = load_key(key);
  if (!loaded) return std::unexpected(std::move(loaded.error()));
  if (X509_check_private_key(own.get(), loaded->get()) != 1) {
    ERR_clear_error();
    return fail("tls.key_mismatch",
                fmt::format("{} is not the key of the first certificate in {}; the authority's own certificate comes "
                            "first, and both files must be replaced together",
                            key.string(), certificate.string()));
  }
  CertificateFacts facts = certificate_facts(own.get());
  if (Result<void> valid = check_validity(certificate, facts); !valid) return std::unexpected(std::move(valid.error()));

  Bytes above;
  const std::vector<UniqueX509> intermediates = take_chain(own.get(), std::move(*chain));
  if (!is_root(own.get())) append_der(above, own.get());
  for (const UniqueX509& each : intermediates) append_der(above, each.get());
  if (above.size() > above_bytes_max) {
    return fail("tls.certificate_too_large",
                fmt::format("{}: the authority and the certificates above it have {} bytes; agents accept {}",
                            certificate.string(), above.size(), above_bytes_max));
  }
  return Authority(std::make_shared<const Parts>(Parts{.file = certificate,
                                                       .certificate = std::move(own),
                                                       .key = std::move(*loaded),
                                                       .facts = std::move(facts),
                                                       .above = std::move(above)}));
}

Result<SignedCertificate> Authority::sign(std::span<const std::byte> request, std::string_view identity,
                                          std::chrono::seconds lifetime, std::chrono::sys_seconds now) const {
  if (parts_->facts.not_after <= now) {
    return fail("tls.certificate_expired",
                fmt::format("{}: the authority's certificate expired on {}, so it cannot sign agents; have a new one "
                            "issued",
                            parts_->file.string(), to_text(parts_->facts.not_after)));
  }
  const std::chrono::sys_seconds not_before =
      std::max<std::chrono::sys_seconds>(now - not_before_leeway, parts_->facts.not_before);
  const std::chrono::sys_seconds not_after = std::min(now + lifetime, parts_->facts.not_after);
  X509* const authority = parts_->certificate.get();
  EVP_PKEY* const key = parts_->key.get();

  const auto* at = reinterpret_cast<const unsigned char*>(request.data());
  const Owned<X509_REQ> asked(d2i_X509_REQ(nullptr, &at, static_cast<long>(request.size())));
  const UniqueX509 made(X509_new());
  X509* const certificate = made.get();
  if (!asked || !made || X509_set_version(certificate, X509_VERSION_3) != 1 || !set_serial(certificate) ||
      !set_time(X509_getm_notBefore(certificate), not_before) ||
      !set_time(X509_getm_notAfter(certificate), not_after) ||
      X509_set_issuer_name(certificate, X509_get_subject_name(authority)) != 1 || !set_subject(certificate, identity) ||
      X509_set_pubkey(certificate, X509_REQ_get0_pubkey(asked.get())) != 1 ||
      !add_extensions(certificate, authority, identity) || X509_sign(certificate, key, hash_for(key)) <= 0) {
    return fail("tls.failed",
                fmt::format("OpenSSL cannot make a certificate for {}: {}", printable(identity), take_openssl_error()));
  }
  ERR_clear_error();
  SignedCertificate result{
      .chain = {}, .serial = certificate_serial(certificate), .not_before = not_before, .not_after = not_after};
  append_der(result.chain, certificate);
  result.chain.insert(result.chain.end(), parts_->above.begin(), parts_->above.end());
  return result;
}

const CertificateFacts& Authority::facts() const {
  return parts_->facts;
}

Result<std::vector<std::byte>> read_certificates(const fs::path& file) {
  const Result<std::vector<UniqueX509>> certificates = load_anchors(file, Anchors::authorities);
  if (!certificates) return std::unexpected(certificates.error());
  Bytes bytes;
  for (const UniqueX509& certificate : *certificates) append_der(bytes, certificate.get());
  return bytes;
}

Result<std::vector<std::byte>> read_certificate(const fs::path& file) {
  const Result<std::vector<UniqueX509>> chain = load_certificates(file, "certificate");
  if (!chain) return std::unexpected(chain.error());
  if (chain->empty()) return fail("tls.not_pem", fmt::format("{}: holds no certificate in PEM form", file.string()));
  Bytes bytes;
  append_der(bytes, chain->front().get());
  return bytes;
}

Result<std::string> to_pem(std::span<const std::byte> certificates) {
  const Result<std::vector<UniqueX509>> parsed = parse_certificates(certificates);
  if (!parsed) return std::unexpected(parsed.error());
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  for (const UniqueX509& certificate : *parsed) {
    if (!out || PEM_write_bio_X509(out.get(), certificate.get()) != 1) throw std::bad_alloc();
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

Result<std::vector<Sha256>> key_pins(std::span<const std::byte> certificates) {
  const Result<std::vector<UniqueX509>> parsed = parse_certificates(certificates);
  if (!parsed) return std::unexpected(parsed.error());
  std::vector<Sha256> pins;
  for (const UniqueX509& certificate : *parsed) pins.push_back(key_pin(certificate.get()));
  return pins;
}

Result<CertificateFacts> facts_of(std::span<const std::byte> certificates) {
  const Result<std::vector<UniqueX509>> parsed = parse_certificates(certificates);
  if (!parsed) return std::unexpected(parsed.error());
  return certificate_facts(parsed->front().get());
}

Sha256 issuer_pin(const ssl_st* ssl) {
  const STACK_OF(X509)* const chain = SSL_get0_verified_chain(ssl);
  return sk_X509_num(chain) > 1 ? key_pin(sk_X509_value(chain, 1)) : Sha256{};
}

}  // namespace culvert
