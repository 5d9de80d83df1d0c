// SPDX-License-Identifier: Apache-2.0
#include "common/tls/verify_peer.hpp"

#include <ctime>
#include <memory>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "common/tls/certificate.hpp"

namespace culvert {
namespace {

void free_refusal(void* /*ssl*/, void* value, CRYPTO_EX_DATA* /*data*/, int /*index*/, long /*argl*/, void* /*argp*/) {
  const std::unique_ptr<Refusal> owner(static_cast<Refusal*>(value));
}

int refusal_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_refusal);
  return index;
}

/// "" if set_expected_server_name was not called.
std::string expected_name(X509_STORE_CTX* chain) {
  X509_VERIFY_PARAM* const rules = X509_STORE_CTX_get0_param(chain);
  if (const char* const host = X509_VERIFY_PARAM_get0_host(rules, 0)) return host;
  ERR_set_mark();  // OpenSSL reports a missing address as an error.
  const std::unique_ptr<char, void (*)(char*)> address(X509_VERIFY_PARAM_get1_ip_asc(rules),
                                                       [](char* text) { OPENSSL_free(text); });
  ERR_pop_to_mark();
  return address ? address.get() : "";
}

void keep_refusal(X509_STORE_CTX* chain) {
  auto* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (ssl == nullptr || SSL_get_ex_data(ssl, refusal_index()) != nullptr) return;
  auto kept = std::make_unique<Refusal>();
  kept->verify_error = X509_STORE_CTX_get_error(chain);
  kept->expected_name = expected_name(chain);
  kept->depth = X509_STORE_CTX_get_error_depth(chain);
  if (const X509* const certificate = X509_STORE_CTX_get_current_cert(chain)) {
    const CertificateFacts facts = certificate_facts(certificate);
    kept->certificate = fmt::format("subject \"{}\", names \"{}\", serial {}, valid {} to {}", facts.subject,
                                    facts.names, facts.serial, to_text(facts.not_before), to_text(facts.not_after));
  }
  Refusal* const given = kept.release();
  if (SSL_set_ex_data(ssl, refusal_index(), given) != 1) kept.reset(given);
}

bool is_within_leeway(const X509_STORE_CTX* chain) {
  std::time_t latest = std::time(nullptr) + std::chrono::seconds{not_before_leeway}.count();
  const X509* const certificate = X509_STORE_CTX_get_current_cert(chain);
  return certificate != nullptr && X509_cmp_time(X509_get0_notBefore(certificate), &latest) < 0;
}

int verify(int accepted, X509_STORE_CTX* chain, std::optional<Purpose> purpose) {
  if (accepted == 0 && X509_STORE_CTX_get_error(chain) == X509_V_ERR_CERT_NOT_YET_VALID && is_within_leeway(chain)) {
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return 1;
  }
  // OpenSSL reports "accepted" for each certificate, the peer's own last. Up to here it has accepted certificates
  // without extended key usage.
  if (accepted == 1 && purpose && X509_STORE_CTX_get_error_depth(chain) == 0 &&
      !has_purpose(X509_STORE_CTX_get_current_cert(chain), *purpose)) {
    X509_STORE_CTX_set_error(chain, X509_V_ERR_INVALID_PURPOSE);
    accepted = 0;
  }
  if (accepted == 0) keep_refusal(chain);
  return accepted;
}

/// Without an expected name, a dialler would accept every certificate that the CA has signed.
int verify_name(int accepted, X509_STORE_CTX* chain) {
  if (accepted == 0 || !expected_name(chain).empty()) return accepted;
  X509_STORE_CTX_set_error(chain, X509_V_ERR_HOSTNAME_MISMATCH);
  keep_refusal(chain);
  return 0;
}

}  // namespace

bool has_purpose(x509_st* certificate, Purpose purpose) {
  if (certificate == nullptr || (X509_get_extension_flags(certificate) & EXFLAG_XKUSAGE) == 0) return false;
  const std::uint32_t wanted = purpose == Purpose::agent ? XKU_SSL_CLIENT : XKU_SSL_SERVER;
  return (X509_get_extended_key_usage(certificate) & wanted) != 0;
}

int verify_agent(int accepted, x509_store_ctx_st* chain) {
  return verify(accepted, chain, Purpose::agent);
}
int verify_server(int accepted, x509_store_ctx_st* chain) {
  return verify_name(verify(accepted, chain, Purpose::server), chain);
}
int verify_backend(int accepted, x509_store_ctx_st* chain) {
  return verify_name(verify(accepted, chain, std::nullopt), chain);
}

int verify_pinned_server(int accepted, x509_store_ctx_st* chain) {
  accepted = verify_server(accepted, chain);
  if (accepted == 1) return accepted;
  auto* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* const kept = static_cast<Refusal*>(SSL_get_ex_data(ssl, refusal_index()));
  if (kept != nullptr) kept->is_pinned = true;
  return accepted;
}

std::optional<Refusal> refusal(const ssl_st* ssl) {
  const auto* const kept = static_cast<const Refusal*>(SSL_get_ex_data(ssl, refusal_index()));
  return kept != nullptr ? std::optional(*kept) : std::nullopt;
}

}  // namespace culvert
