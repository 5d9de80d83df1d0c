// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

struct bio_st;
struct bignum_st;
struct evp_md_ctx_st;
struct evp_pkey_st;
struct stack_st_GENERAL_NAME;
struct stack_st_X509;
struct stack_st_X509_EXTENSION;
struct x509_st;
struct x509_store_ctx_st;
struct x509_store_st;
struct X509_extension_st;
struct X509_req_st;

// Owners of OpenSSL's objects, without its headers.

namespace culvert {

struct OpensslFree {
  void operator()(bignum_st* number) const noexcept;
  void operator()(bio_st* bio) const noexcept;
  void operator()(evp_md_ctx_st* digest) const noexcept;
  void operator()(evp_pkey_st* key) const noexcept;
  void operator()(stack_st_GENERAL_NAME* names) const noexcept;
  void operator()(stack_st_X509* certificates) const noexcept;  ///< Its certificates too.
  void operator()(stack_st_X509_EXTENSION* extensions) const noexcept;
  void operator()(x509_st* certificate) const noexcept;
  void operator()(x509_store_ctx_st* check) const noexcept;
  void operator()(x509_store_st* store) const noexcept;
  void operator()(X509_extension_st* extension) const noexcept;
  void operator()(X509_req_st* request) const noexcept;
};
template <typename T>
using Owned = std::unique_ptr<T, OpensslFree>;

using UniqueX509 = Owned<x509_st>;
using UniqueKey = Owned<evp_pkey_st>;

/// OpenSSL's newest error in its own words. Empties the error queue.
std::string take_openssl_error();

}  // namespace culvert
