// SPDX-License-Identifier: Apache-2.0
#include "common/tls/credentials.hpp"

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/tls/openssl_objects.hpp"
#include "common/tls/pem_file.hpp"

namespace culvert {
namespace {

namespace fs = std::filesystem;

/// Converts OpenSSL's error after the context refused the certificate or the key. Empties OpenSSL's error queue.
Error refused_by_context(const fs::path& certificate) {
  const unsigned long error = ERR_peek_error();
  const int reason = ERR_GET_REASON(error);
  const char* words = ERR_reason_error_string(error);
  ERR_clear_error();
  const std::string text = words != nullptr ? words : "no reason given";
  if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
      (reason == SSL_R_EE_KEY_TOO_SMALL || reason == SSL_R_CA_KEY_TOO_SMALL || reason == SSL_R_CA_MD_TOO_WEAK)) {
    return {"tls.weak_certificate",
            fmt::format("{}: too weak ({}); have it issued with EC P-256 or RSA of at least 2048 bits, and SHA-256",
                        certificate.string(), text)};
  }
  return {"tls.failed", fmt::format("{}: OpenSSL refuses certificate and key: {}", certificate.string(), text)};
}

Result<CertificateFacts> use_chain(ssl_ctx_st* context, const fs::path& certificate, const fs::path& private_key,
                                   std::vector<UniqueX509> chain, UniqueKey key) {
  if (chain.empty()) {
    return fail("tls.not_pem", fmt::format("{}: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)",
                                           certificate.string()));
  }
  X509* const leaf = chain.front().get();
  if (X509_check_private_key(leaf, key.get()) != 1) {
    ERR_clear_error();
    return fail("tls.key_mismatch",
                fmt::format("{} is not the key of the first certificate in {}; the leaf comes first, and both "
                            "files must be replaced together",
                            private_key.string(), certificate.string()));
  }
  CertificateFacts facts = certificate_facts(leaf);
  if (Result<void> valid = check_validity(certificate, facts); !valid) return std::unexpected(valid.error());

  const Owned<STACK_OF(X509)> intermediates(sk_X509_new_null());
  for (std::size_t i = 1; i < chain.size(); ++i) sk_X509_push(intermediates.get(), chain[i].release());
  if (SSL_CTX_use_cert_and_key(context, leaf, key.get(), intermediates.get(), 1) != 1) {
    return std::unexpected(refused_by_context(certificate));
  }
  return facts;
}

}  // namespace

Result<CertificateFacts> use_certificate(ssl_ctx_st* context, const fs::path& certificate,
                                         const fs::path& private_key) {
  Result<std::vector<UniqueX509>> chain = load_certificates(certificate, "certificate");
  if (!chain) return std::unexpected(chain.error());
  Result<UniqueKey> key = load_key(private_key);
  if (!key) return std::unexpected(key.error());
  return use_chain(context, certificate, private_key, std::move(*chain), std::move(*key));
}

Result<CertificateFacts> use_certificate(ssl_ctx_st* context, const PemPair& pair) {
  Result<std::vector<UniqueX509>> chain = parse_certificates(pair.certificate, pair.certificate_name, "certificate");
  if (!chain) return std::unexpected(chain.error());
  Result<UniqueKey> key = parse_key_of(pair.private_key, pair.key_name);
  if (!key) return std::unexpected(key.error());
  return use_chain(context, pair.certificate_name, pair.key_name, std::move(*chain), std::move(*key));
}

Result<std::vector<UniqueX509>> load_anchors(const fs::path& ca, Anchors anchors) {
  Result<std::vector<UniqueX509>> certificates = load_certificates(ca, "CA file");
  if (!certificates) return certificates;
  if (certificates->empty()) {
    return fail("tls.ca_empty",
                fmt::format("{}: holds no CA certificate in PEM form (-----BEGIN CERTIFICATE-----)", ca.string()));
  }
  Result<void> last_validity;
  bool any_valid = false;
  for (const UniqueX509& certificate : *certificates) {
    const CertificateFacts facts = certificate_facts(certificate.get());
    if (anchors == Anchors::authorities && X509_check_ca(certificate.get()) == 0) {
      return fail(
          "tls.ca_not_an_authority",
          fmt::format("{}: \"{}\" is not a CA certificate; name the file of the CA that signs the peers, not of a peer",
                      ca.string(), facts.subject));
    }
    last_validity = check_validity(ca, facts);
    any_valid = any_valid || last_validity.has_value();
  }
  ERR_clear_error();
  // One valid CA is enough: to replace a CA, the new one is added first.
  if (!any_valid) return std::unexpected(std::move(last_validity.error()));
  return certificates;
}

Result<void> trust_authority(ssl_ctx_st* context, const fs::path& ca, Anchors anchors) {
  const Result<std::vector<UniqueX509>> certificates = load_anchors(ca, anchors);
  if (!certificates) return std::unexpected(certificates.error());
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  for (const UniqueX509& certificate : *certificates) X509_STORE_add_cert(store, certificate.get());
  ERR_clear_error();
  // An intermediate in the file is an anchor like a root: a file with only the agents' CA trusts only that CA.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return {};
}

}  // namespace culvert
