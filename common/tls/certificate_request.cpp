// SPDX-License-Identifier: Apache-2.0
#include "common/tls/certificate_request.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/tls/certificate.hpp"
#include "common/tls/extensions.hpp"
#include "common/tls/openssl_objects.hpp"
#include "common/tls/pem_file.hpp"
#include "protocol/limits.hpp"

namespace culvert {
namespace {

constexpr int rsa_bits_made = 3072;
constexpr int rsa_bits_min = 3072;
constexpr int rsa_bits_max = 4096;
constexpr std::string_view renewal_prefix{"culvert-renew-1\0", 16};
constexpr std::string_view exporter_label = "EXPORTER-culvert-renew";  // SPEC 8.7.
constexpr std::size_t exported_bytes = 32;

using Bytes = std::vector<std::byte>;

const unsigned char* data_of(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

std::unexpected<Error> openssl_failed(std::string_view what) {
  return fail("tls.failed", fmt::format("OpenSSL cannot {}: {}", what, take_openssl_error()));
}

Result<Bytes> build_request(EVP_PKEY* key, std::string_view identity) {
  const Owned<X509_REQ> request(X509_REQ_new());
  const Owned<STACK_OF(X509_EXTENSION)> extensions(sk_X509_EXTENSION_new_null());
  Owned<X509_EXTENSION> names = make_uri_name(identity);
  if (!request || !extensions || !names) return openssl_failed("make a certificate request");
  X509_EXTENSION* const given = names.release();
  if (sk_X509_EXTENSION_push(extensions.get(), given) == 0) {
    names.reset(given);
    return openssl_failed("make a certificate request");
  }
  unsigned char* encoded = nullptr;
  int size = 0;
  if (X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
      X509_REQ_add_extensions(request.get(), extensions.get()) == 1 && X509_REQ_set_pubkey(request.get(), key) == 1 &&
      X509_REQ_sign(request.get(), key, EVP_sha256()) > 0)
    size = i2d_X509_REQ(request.get(), &encoded);
  if (size <= 0) return openssl_failed("make a certificate request");
  const auto bytes = std::as_bytes(std::span(encoded, static_cast<std::size_t>(size)));
  Bytes made(bytes.begin(), bytes.end());
  OPENSSL_free(encoded);
  if (made.size() <= protocol::certificate_request_bytes_max) return made;
  return fail("tls.failed",
              fmt::format("the identity has {} bytes, which is too long for a certificate request", identity.size()));
}

Result<Secret> to_pem(EVP_PKEY* key) {
  const Owned<BIO> out(BIO_new(BIO_s_mem()));  // It wipes what it frees.
  if (!out || PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_failed("write a private key");
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out.get(), &bytes);
  return Secret(std::vector<char>(bytes, bytes + size));
}

/// `rule` continues "the certificate request ".
std::unexpected<Error> bad_request(std::string_view rule) {
  ERR_clear_error();
  return fail("tls.bad_request", fmt::format("the certificate request {}", rule));
}

/// Exactly one request in DER, so that all who read it read the same.
Result<Owned<X509_REQ>> parse_request(std::span<const std::byte> bytes) {
  if (bytes.empty()) return bad_request("is empty");
  if (bytes.size() > protocol::certificate_request_bytes_max)
    return bad_request(
        fmt::format("has {} bytes; at most {} are allowed", bytes.size(), protocol::certificate_request_bytes_max));
  const unsigned char* at = data_of(bytes);
  const unsigned char* const end = at + bytes.size();
  Owned<X509_REQ> request(d2i_X509_REQ(nullptr, &at, static_cast<long>(bytes.size())));
  if (!request) return bad_request("is not PKCS #10 in DER");
  if (at != end) return bad_request(fmt::format("has {} bytes behind its end", end - at));
  // The parser accepts other encodings (BER), which the signature covers as they are: compare with the one of DER.
  unsigned char* again = nullptr;
  i2d_re_X509_REQ_tbs(request.get(), &again);
  OPENSSL_free(again);
  again = nullptr;
  const int size = i2d_X509_REQ(request.get(), &again);
  const bool is_same = std::cmp_equal(size, bytes.size()) && std::memcmp(again, bytes.data(), bytes.size()) == 0;
  OPENSSL_free(again);
  if (!is_same) return bad_request("is not PKCS #10 in DER");
  if (X509_REQ_get_version(request.get()) != X509_REQ_VERSION_1)
    return bad_request(fmt::format("has version {}; PKCS #10 has 1", X509_REQ_get_version(request.get()) + 1));
  return request;
}

bool is_strong_rsa(const EVP_PKEY* key) {
  BIGNUM* exponent = nullptr;
  const bool known = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1;
  const bool is_usual = known && BN_is_word(exponent, RSA_F4) == 1;
  BN_free(exponent);
  return is_usual && EVP_PKEY_get_bits(key) >= rsa_bits_min && EVP_PKEY_get_bits(key) <= rsa_bits_max;
}

/// A key on a curve that its encoding names, with an uncompressed point: certificates with others have no readers.
bool is_usual_point(const X509_ALGOR* algorithm, std::span<const unsigned char> point) {
  int kind = 0;
  const void* curve = nullptr;
  X509_ALGOR_get0(nullptr, &kind, &curve, algorithm);
  if (kind != V_ASN1_OBJECT || point.empty() || point[0] != POINT_CONVERSION_UNCOMPRESSED) return false;
  const int id = OBJ_obj2nid(static_cast<const ASN1_OBJECT*>(curve));
  return id == NID_X9_62_prime256v1 || id == NID_secp384r1;
}

Result<void> check_key(const X509_PUBKEY* encoded) {
  ASN1_OBJECT* kind = nullptr;
  const unsigned char* point = nullptr;
  int size = 0;
  X509_ALGOR* algorithm = nullptr;
  X509_PUBKEY_get0_param(&kind, &point, &size, &algorithm, encoded);
  const EVP_PKEY* const key = X509_PUBKEY_get0(encoded);
  const int id = OBJ_obj2nid(kind);
  if (key == nullptr && (id == NID_X9_62_id_ecPublicKey || id == NID_rsaEncryption))
    return bad_request("has a damaged key");
  const bool accepted =
      (id == NID_X9_62_id_ecPublicKey && is_usual_point(algorithm, std::span(point, static_cast<std::size_t>(size)))) ||
      (id == NID_rsaEncryption && is_strong_rsa(key));
  if (accepted) return {};
  return bad_request(
      fmt::format("has a key that is not accepted ({}, {} bits); use EC P-256 or P-384, or RSA of {} to {} bits with "
                  "exponent 65537",
                  id == NID_undef ? "unknown" : OBJ_nid2sn(id), key != nullptr ? EVP_PKEY_get_bits(key) : 0,
                  rsa_bits_min, rsa_bits_max));
}

Result<void> check_signature(X509_REQ* request) {
  const int algorithm = X509_REQ_get_signature_nid(request);
  int hash = NID_undef;
  OBJ_find_sigid_algs(algorithm, &hash, nullptr);
  if (hash != NID_sha256 && hash != NID_sha384 && hash != NID_sha512)
    return bad_request(fmt::format("is signed with {}; use ECDSA or RSA (PKCS #1 v1.5) with SHA-256 or better",
                                   algorithm == NID_undef ? "an unknown algorithm" : OBJ_nid2sn(algorithm)));
  if (X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) != 1)
    return bad_request("has a wrong signature: it must be signed by its own key");
  return {};
}

/// The extensions that are asked for; nothing if they cannot be read. No attribute: none.
std::optional<Owned<STACK_OF(X509_EXTENSION)>> requested_extensions(const X509_REQ* request) {
  const int place = X509_REQ_get_attr_by_NID(request, NID_ext_req, -1);
  if (place < 0) return Owned<STACK_OF(X509_EXTENSION)>(sk_X509_EXTENSION_new_null());
  if (X509_REQ_get_attr_by_NID(request, NID_ext_req, place) >= 0) return std::nullopt;
  X509_ATTRIBUTE* const attribute = X509_REQ_get_attr(request, place);
  const ASN1_TYPE* const value =
      X509_ATTRIBUTE_count(attribute) == 1 ? X509_ATTRIBUTE_get0_type(attribute, 0) : nullptr;
  if (value == nullptr || value->type != V_ASN1_SEQUENCE) return std::nullopt;
  Owned<STACK_OF(X509_EXTENSION)> extensions(
      static_cast<STACK_OF(X509_EXTENSION)*>(ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_EXTENSIONS), value)));
  if (!extensions) return std::nullopt;
  return extensions;
}

/// The alternative names that are asked for; nothing if they cannot be read.
std::optional<Owned<GENERAL_NAMES>> requested_names(const X509_REQ* request) {
  const auto extensions = requested_extensions(request);
  if (!extensions) return std::nullopt;
  const int place = X509v3_get_ext_by_NID(extensions->get(), NID_subject_alt_name, -1);
  if (place < 0) return Owned<GENERAL_NAMES>(GENERAL_NAMES_new());
  if (X509v3_get_ext_by_NID(extensions->get(), NID_subject_alt_name, place) >= 0) return std::nullopt;
  const ASN1_OCTET_STRING* const value = X509_EXTENSION_get_data(X509v3_get_ext(extensions->get(), place));
  const unsigned char* at = ASN1_STRING_get0_data(value);
  const unsigned char* const end = at + ASN1_STRING_length(value);
  Owned<GENERAL_NAMES> names(d2i_GENERAL_NAMES(nullptr, &at, ASN1_STRING_length(value)));
  if (!names || at != end) return std::nullopt;
  return names;
}

Result<void> check_names(const X509_REQ* request, std::string_view identity) {
  const auto names = requested_names(request);
  if (!names) return bad_request("has alternative names that cannot be read, or twice");
  const std::string wanted = identity.empty() ? "any URI" : fmt::format("\"{}\"", identity);
  const int count = sk_GENERAL_NAME_num(names->get());
  if (count != 1) return bad_request(fmt::format("has {} alternative names; it must have one, {}", count, wanted));
  const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names->get(), 0);
  if (name->type != GEN_URI)
    return bad_request(fmt::format("has an alternative name that is not a URI; it must be {}", wanted));
  const ASN1_STRING* const value = name->d.uniformResourceIdentifier;
  const std::string_view uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                             static_cast<std::size_t>(ASN1_STRING_length(value)));
  if (identity.empty() || uri == identity) return {};
  return bad_request(fmt::format("is for \"{}\"; it must be for {}", printable(uri), wanted));
}

/// What the signature of a renewal covers (SPEC 8.7). Nothing if the connection cannot be told from others.
std::optional<Bytes> renewal_text(const SSL* ssl, std::span<const std::byte> request) {
  // Before TLS 1.3 a peer can make two connections export the same.
  if (ssl == nullptr || SSL_version(ssl) != TLS1_3_VERSION) return std::nullopt;
  std::array<unsigned char, exported_bytes> exported{};
  if (SSL_export_keying_material(const_cast<SSL*>(ssl), exported.data(), exported.size(), exporter_label.data(),
                                 exporter_label.size(), nullptr, 0, 0) != 1)
    return std::nullopt;
  Bytes text;
  const auto append = [&text](std::span<const std::byte> part) { text.insert(text.end(), part.begin(), part.end()); };
  append(std::as_bytes(std::span(renewal_prefix)));
  append(std::as_bytes(std::span(exported)));
  append(request);
  return text;
}

}  // namespace

Result<KeyAndRequest> make_key_and_request(KeyKind kind, std::string_view identity) {
  const UniqueKey key(kind == KeyKind::p256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(rsa_bits_made));
  if (!key) return openssl_failed("make a private key");
  Result<Secret> pem = to_pem(key.get());
  if (!pem) return std::unexpected(std::move(pem.error()));
  Result<Bytes> request = build_request(key.get(), identity);
  if (!request) return std::unexpected(std::move(request.error()));
  return KeyAndRequest{.key = std::move(*pem), .request = std::move(*request)};
}

Result<std::vector<std::byte>> make_request(const Secret& key, std::string_view identity) {
  const UniqueKey parsed = parse_key(key.reveal());
  if (!parsed) return fail("tls.not_pem", "the agent's private key is not in PEM form, or it is encrypted");
  return build_request(parsed.get(), identity);
}

Result<Sha256> check_request(std::span<const std::byte> request, std::string_view identity) {
  Result<Owned<X509_REQ>> parsed = parse_request(request);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  // The signature comes last, since a strange key may make it expensive to check.
  const X509_PUBKEY* const key = X509_REQ_get_X509_PUBKEY(parsed->get());
  if (Result<void> right = check_key(key); !right) return std::unexpected(std::move(right.error()));
  if (Result<void> right = check_names(parsed->get(), identity); !right)
    return std::unexpected(std::move(right.error()));
  if (Result<void> right = check_signature(parsed->get()); !right) return std::unexpected(std::move(right.error()));
  ERR_clear_error();
  return key_pin(key);
}

Result<std::vector<std::byte>> sign_renewal(const ssl_st* ssl, const Secret& key, std::span<const std::byte> request) {
  const UniqueKey parsed = parse_key(key.reveal());
  if (!parsed) return fail("tls.not_pem", "the agent's private key is not in PEM form, or it is encrypted");
  const std::optional<Bytes> text = renewal_text(ssl, request);
  const Owned<EVP_MD_CTX> digest(EVP_MD_CTX_new());
  std::size_t size = 0;
  if (!text || !digest || EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, parsed.get()) != 1 ||
      EVP_DigestSign(digest.get(), nullptr, &size, data_of(*text), text->size()) != 1)
    return openssl_failed("sign a renewal");
  Bytes signature(size);
  if (EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, data_of(*text),
                     text->size()) != 1)
    return openssl_failed("sign a renewal");
  signature.resize(size);  // The first answer was an upper bound.
  return signature;
}

bool is_signed_renewal(const ssl_st* ssl, std::span<const std::byte> certificate, std::span<const std::byte> request,
                       std::span<const std::byte> signature) {
  const unsigned char* at = data_of(certificate);
  const unsigned char* const end = at + certificate.size();
  const UniqueX509 parsed(d2i_X509(nullptr, &at, static_cast<long>(certificate.size())));
  EVP_PKEY* const key = parsed && at == end ? X509_get0_pubkey(parsed.get()) : nullptr;
  const std::optional<Bytes> text = key != nullptr ? renewal_text(ssl, request) : std::nullopt;
  const Owned<EVP_MD_CTX> digest(EVP_MD_CTX_new());
  const bool is_right =
      text && digest && EVP_DigestVerifyInit(digest.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
      EVP_DigestVerify(digest.get(), data_of(signature), signature.size(), data_of(*text), text->size()) == 1;
  ERR_clear_error();
  return is_right;
}

}  // namespace culvert
