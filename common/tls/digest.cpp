// SPDX-License-Identifier: Apache-2.0
#include "common/tls/digest.hpp"

#include <new>

#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace culvert {

Sha256 sha256(std::string_view text) {
  Sha256 digest;
  auto* const out = reinterpret_cast<unsigned char*>(digest.data());
  if (EVP_Digest(text.data(), text.size(), out, nullptr, EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  return digest;
}

bool are_equal(const Sha256& one, const Sha256& other) {
  return CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

}  // namespace culvert
