// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/tokens.hpp"

#include <array>
#include <stdexcept>
#include <utility>

#include <boost/beast/core/detail/base64.hpp>
#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

namespace culvert::testing {

namespace {

void must(bool succeeded, const char* what) {
  if (!succeeded) throw std::runtime_error(what);
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// Converts OpenSSL's DER to the two numbers of RFC 7518 3.4.
std::string raw_signature(const std::string& der) {
  const unsigned char* at = bytes_of(der);
  ECDSA_SIG* parts = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  std::string raw(64, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(parts), out, 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(parts), out + 32, 32);
  ECDSA_SIG_free(parts);
  return raw;
}

}  // namespace

std::string base64url(std::string_view bytes) {
  namespace base64 = boost::beast::detail::base64;
  std::string text(base64::encoded_size(bytes.size()), '\0');
  text.resize(base64::encode(text.data(), bytes.data(), bytes.size()));
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

SigningKey::SigningKey(evp_pkey_st* key, std::string id) : key_(key, EVP_PKEY_free), id_(std::move(id)) {
  must(key != nullptr, "make a key");
}

SigningKey SigningKey::rsa(std::string id, unsigned bits) {
  return {EVP_RSA_gen(bits), std::move(id)};
}

SigningKey SigningKey::ec(std::string id, const std::string& curve) {
  return {EVP_EC_gen(curve.c_str()), std::move(id)};
}

std::string SigningKey::number(const char* name, std::size_t bytes) const {
  BIGNUM* value = nullptr;
  must(EVP_PKEY_get_bn_param(key_.get(), name, &value) == 1, name);
  std::string out(bytes == 0 ? static_cast<std::size_t>(BN_num_bytes(value)) : bytes, '\0');
  BN_bn2binpad(value, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size()));
  BN_free(value);
  return base64url(out);
}

std::string SigningKey::jwk(std::string_view more) const {
  if (EVP_PKEY_is_a(key_.get(), "RSA") == 1)
    return fmt::format(R"({{"kty":"RSA","kid":"{}","n":"{}","e":"{}"{}}})", id_, number(OSSL_PKEY_PARAM_RSA_N),
                       number(OSSL_PKEY_PARAM_RSA_E), more);
  const int bits = EVP_PKEY_get_bits(key_.get());
  const auto bytes = static_cast<std::size_t>(bits + 7) / 8;
  return fmt::format(R"({{"kty":"EC","kid":"{}","crv":"P-{}","x":"{}","y":"{}"{}}})", id_, bits,
                     number(OSSL_PKEY_PARAM_EC_PUB_X, bytes), number(OSSL_PKEY_PARAM_EC_PUB_Y, bytes), more);
}

std::string SigningKey::public_pem() const {
  BIO* memory = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(memory, key_.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory, &text);
  std::string pem(text, static_cast<std::size_t>(size));
  BIO_free(memory);
  return pem;
}

std::string SigningKey::signature(std::string_view algorithm, std::string_view text) const {
  if (algorithm == "none") return "";
  if (algorithm == "HS256") {
    const std::string secret = public_pem();
    std::array<unsigned char, 32> digest{};
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes_of(text), text.size(), digest.data(),
         nullptr);
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
  }
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* padding = nullptr;
  must(EVP_DigestSignInit(context, &padding, EVP_sha256(), nullptr, key_.get()) == 1, "begin to sign");
  if (algorithm == "PS256") {
    EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, RSA_PSS_SALTLEN_DIGEST);
  }
  std::size_t size = 0;
  EVP_DigestSign(context, nullptr, &size, bytes_of(text), text.size());
  std::string signed_text(size, '\0');
  auto* out = reinterpret_cast<unsigned char*>(signed_text.data());
  must(EVP_DigestSign(context, out, &size, bytes_of(text), text.size()) == 1, "sign");
  EVP_MD_CTX_free(context);
  signed_text.resize(size);
  return EVP_PKEY_is_a(key_.get(), "RSA") == 1 ? signed_text : raw_signature(signed_text);
}

std::string SigningKey::sign(std::string_view algorithm, std::string_view header, std::string_view claims) const {
  const std::string text = base64url(header) + "." + base64url(claims);
  return text + "." + base64url(signature(algorithm, text));
}

std::string SigningKey::sign(std::string_view algorithm, std::string_view claims) const {
  return sign(algorithm, fmt::format(R"({{"alg":"{}","typ":"JWT","kid":"{}"}})", algorithm, id_), claims);
}

std::string jwks(const std::vector<std::string>& keys) {
  std::string text;
  for (const std::string& key : keys) text += (text.empty() ? "" : ",") + key;
  return "{\"keys\":[" + text + "]}";
}

}  // namespace culvert::testing
