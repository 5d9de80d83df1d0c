// SPDX-License-Identifier: Apache-2.0
#include "common/tls/past_certificate.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/tls/authority.hpp"
#include "common/tls/openssl_objects.hpp"
#include "common/tls/verify_peer.hpp"

namespace culvert {

Result<PastCertificate> past_certificate(const ssl_st* ssl, std::span<const std::byte> certificate,
                                         std::string_view trust_domain) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(certificate.data());
  const auto* const end = bytes + certificate.size();
  const UniqueX509 leaf(d2i_X509(nullptr, &bytes, static_cast<long>(certificate.size())));
  if (!leaf || bytes != end) {
    ERR_clear_error();
    return fail("tls.not_der", "the certificate is not one in DER");
  }
  const Owned<X509_STORE_CTX> check(X509_STORE_CTX_new());
  X509_STORE* const trusted = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
  bool accepted = false;
  if (check && X509_STORE_CTX_init(check.get(), trusted, leaf.get(), nullptr) == 1) {
    X509_VERIFY_PARAM* const rules = X509_STORE_CTX_get0_param(check.get());
    X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_NO_CHECK_TIME);
    X509_VERIFY_PARAM_set_purpose(rules, X509_PURPOSE_SSL_CLIENT);
    X509_VERIFY_PARAM_set_auth_level(rules, SSL_get_security_level(ssl));
    accepted = X509_verify_cert(check.get()) == 1 && has_purpose(leaf.get(), Purpose::agent);
  }
  ERR_clear_error();
  if (!accepted) {
    const int why = check ? X509_STORE_CTX_get_error(check.get()) : X509_V_ERR_OUT_OF_MEM;
    return fail("tls.peer_certificate",
                fmt::format("the agent's last certificate is not accepted here ({}): join again with a new token",
                            X509_verify_cert_error_string(why)));
  }
  auto identity = agent_identity(leaf.get(), trust_domain);
  if (!identity) return std::unexpected(identity.error());
  PastCertificate past{std::move(*identity), {}};
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(check.get());
  if (sk_X509_num(chain) > 1) past.issuer = key_pin(sk_X509_value(chain, 1));
  return past;
}

}  // namespace culvert
