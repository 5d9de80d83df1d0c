// SPDX-License-Identifier: Apache-2.0
#include "common/tls/openssl_objects.hpp"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

namespace culvert {

void OpensslFree::operator()(bignum_st* number) const noexcept {
  BN_free(number);
}
void OpensslFree::operator()(bio_st* bio) const noexcept {
  BIO_free(bio);
}
void OpensslFree::operator()(evp_md_ctx_st* digest) const noexcept {
  EVP_MD_CTX_free(digest);
}
void OpensslFree::operator()(evp_pkey_st* key) const noexcept {
  EVP_PKEY_free(key);
}
void OpensslFree::operator()(stack_st_GENERAL_NAME* names) const noexcept {
  GENERAL_NAMES_free(names);
}
void OpensslFree::operator()(stack_st_X509* certificates) const noexcept {
  sk_X509_pop_free(certificates, &X509_free);
}
void OpensslFree::operator()(stack_st_X509_EXTENSION* extensions) const noexcept {
  sk_X509_EXTENSION_pop_free(extensions, &X509_EXTENSION_free);
}
void OpensslFree::operator()(x509_st* certificate) const noexcept {
  X509_free(certificate);
}
void OpensslFree::operator()(x509_store_ctx_st* check) const noexcept {
  X509_STORE_CTX_free(check);
}
void OpensslFree::operator()(x509_store_st* store) const noexcept {
  X509_STORE_free(store);
}
void OpensslFree::operator()(X509_extension_st* extension) const noexcept {
  X509_EXTENSION_free(extension);
}
void OpensslFree::operator()(X509_req_st* request) const noexcept {
  X509_REQ_free(request);
}

std::string take_openssl_error() {
  const char* const words = ERR_reason_error_string(ERR_peek_last_error());
  std::string text = words != nullptr ? words : "no reason given";
  ERR_clear_error();
  return text;
}

}  // namespace culvert
