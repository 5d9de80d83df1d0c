// SPDX-License-Identifier: Apache-2.0
#include "common/tls/peer_pin.hpp"

#include <memory>
#include <new>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "common/tls/certificate.hpp"
#include "common/tls/openssl_objects.hpp"
#include "common/tls/verify_peer.hpp"

namespace culvert {
namespace {

void free_pin(void* /*context*/, void* value, CRYPTO_EX_DATA* /*data*/, int /*index*/, long /*argl*/, void* /*argp*/) {
  const std::unique_ptr<Sha256> owner(static_cast<Sha256*>(value));
}

int pin_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_pin);
  return index;
}

/// The authorities with the pinned key among the certificates that the server sent.
Owned<STACK_OF(X509)> pinned_authorities(X509_STORE_CTX* chain, const Sha256& pin) {
  constexpr int authority = 1;  // With basicConstraints CA:TRUE; other values are for certificates of the past.
  Owned<STACK_OF(X509)> found(sk_X509_new_null());
  const STACK_OF(X509)* const sent = X509_STORE_CTX_get0_untrusted(chain);
  for (int i = 0; found && i < sk_X509_num(sent); ++i) {
    X509* const certificate = sk_X509_value(sent, i);
    const bool is_own = X509_cmp(certificate, X509_STORE_CTX_get0_cert(chain)) == 0;
    if (is_own || key_pin(certificate) != pin || X509_check_ca(certificate) != authority) continue;
    if (X509_add_cert(found.get(), certificate, X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP) != 1) return nullptr;
  }
  return found;
}

/// Takes the place of X509_verify_cert, which would look into the context's store.
int verify_by_pin(X509_STORE_CTX* chain, void* pin) {
  const Owned<STACK_OF(X509)> trusted = pinned_authorities(chain, *static_cast<const Sha256*>(pin));
  if (!trusted || sk_X509_num(trusted.get()) == 0) {
    X509_STORE_CTX_set_error(chain, trusted ? X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY : X509_V_ERR_OUT_OF_MEM);
    X509_STORE_CTX_set_current_cert(chain, X509_STORE_CTX_get0_cert(chain));
    return verify_pinned_server(0, chain);
  }
  X509_STORE_CTX_set0_trusted_stack(chain, trusted.get());
  X509_STORE_CTX_set_flags(chain, X509_V_FLAG_PARTIAL_CHAIN);  // The authority may be an intermediate.
  const int accepted = X509_verify_cert(chain);
  X509_STORE_CTX_set0_trusted_stack(chain, nullptr);
  return accepted;
}

}  // namespace

void trust_pin(ssl_ctx_st* context, const Sha256& pin) {
  auto own = std::make_unique<Sha256>(pin);
  if (SSL_CTX_set_ex_data(context, pin_index(), own.get()) != 1) throw std::bad_alloc();
  SSL_CTX_set_cert_verify_callback(context, &verify_by_pin, own.release());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &verify_pinned_server);
}

}  // namespace culvert
