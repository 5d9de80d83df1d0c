// SPDX-License-Identifier: Apache-2.0
#include "common/tls/join_anchor.hpp"

#include <span>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/tls/openssl_objects.hpp"

namespace culvert {
namespace {

void free_anchor(void* /*context*/, void* value, CRYPTO_EX_DATA* /*data*/, int /*index*/, long /*argl*/,
                 void* /*argp*/) {
  X509_free(static_cast<X509*>(value));
}

int anchor_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_anchor);
  return index;
}

std::unexpected<Error> out_of_memory() {
  ERR_clear_error();
  return fail("tls.failed", "OpenSSL cannot prepare the server's chain: out of memory");
}

}  // namespace

Result<std::vector<std::byte>> enable_joining(ssl_ctx_st* context, const std::filesystem::path& file) {
  STACK_OF(X509)* sent = nullptr;
  SSL_CTX_get0_chain_certs(context, static_cast<void*>(&sent));
  const Owned<X509_STORE> store(X509_STORE_new());
  const Owned<X509_STORE_CTX> check(X509_STORE_CTX_new());
  if (!store || !check) return out_of_memory();
  const auto trust = [&store](X509* certificate) {
    if (certificate != nullptr && X509_check_ca(certificate) != 0) X509_STORE_add_cert(store.get(), certificate);
  };
  for (int i = 0; sent != nullptr && i < sk_X509_num(sent); ++i) trust(sk_X509_value(sent, i));
  const STACK_OF(X509_OBJECT)* trusted = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (int i = 0; i < sk_X509_OBJECT_num(trusted); ++i) trust(X509_OBJECT_get0_X509(sk_X509_OBJECT_value(trusted, i)));
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
  const bool is_known =
      X509_STORE_CTX_init(check.get(), store.get(), SSL_CTX_get0_certificate(context), nullptr) == 1 &&
      X509_verify_cert(check.get()) == 1 && sk_X509_num(X509_STORE_CTX_get0_chain(check.get())) > 1;
  ERR_clear_error();
  if (!is_known) {
    return fail("tls.unknown_issuer",
                fmt::format("{}: the authority that signed the server's certificate is neither in this file nor in "
                            "authority_certificate nor in client_ca; agents that join need it: append its certificate",
                            file.string()));
  }
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(check.get());
  X509* const anchor = sk_X509_value(chain, sk_X509_num(chain) - 1);
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(anchor, &encoded);
  if (size <= 0) return out_of_memory();
  const auto bytes = std::as_bytes(std::span(encoded, static_cast<std::size_t>(size)));
  std::vector<std::byte> der(bytes.begin(), bytes.end());
  OPENSSL_free(encoded);
  if (SSL_CTX_set_ex_data(context, anchor_index(), anchor) != 1) return out_of_memory();
  X509_up_ref(anchor);
  return der;
}

bool begin_join(ssl_st* ssl) {
  auto* const anchor = static_cast<X509*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), anchor_index()));
  if (anchor == nullptr) return false;
  SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr);
  return SSL_add1_chain_cert(ssl, anchor) == 1;
}

}  // namespace culvert
