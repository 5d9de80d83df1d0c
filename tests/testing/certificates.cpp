// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/certificates.hpp"

#include <array>
#include <fstream>
#include <stdexcept>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

namespace culvert::testing {
namespace {

void require(bool done) {
  if (!done)
    throw std::runtime_error(std::string("certificate builder: ") + ERR_error_string(ERR_peek_error(), nullptr));
}

std::shared_ptr<EVP_PKEY> make_key(KeyKind kind) {
  EVP_PKEY* key = nullptr;
  switch (kind) {
    case KeyKind::ec_p256: key = EVP_EC_gen("P-256"); break;
    case KeyKind::rsa_2048: key = EVP_RSA_gen(2048); break;
    case KeyKind::rsa_1024: key = EVP_RSA_gen(1024); break;
  }
  require(key != nullptr);
  return {key, &EVP_PKEY_free};
}

void set_random_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  require(RAND_bytes(bytes.data(), bytes.size()) == 1);
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7f) | 0x40);
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(BN_bin2bn(bytes.data(), bytes.size(), nullptr), &BN_free);
  require(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr);
}

void add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()), &X509_EXTENSION_free);
  require(extension && X509_add_ext(certificate, extension.get(), -1) == 1);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

void add_extensions(X509* certificate, X509* issuer, const CertificateRequest& request) {
  add_extension(certificate, issuer, NID_basic_constraints,
                request.is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(certificate, issuer, NID_key_usage,
                request.is_authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  if (!request.purpose.empty()) add_extension(certificate, issuer, NID_ext_key_usage, request.purpose);
  if (!request.names.empty()) add_extension(certificate, issuer, NID_subject_alt_name, joined(request.names));
  if (!request.constraints.empty())
    add_extension(certificate, issuer, NID_name_constraints, "critical," + request.constraints);
  if (request.padding_bytes > 0)
    add_extension(certificate, issuer, NID_netscape_comment, std::string(request.padding_bytes, 'x'));
}

/// `issuer` null: self-signed.
Credential make(const Credential* issuer, const CertificateRequest& request) {
  Credential made{.certificate = {X509_new(), &X509_free}, .key = make_key(request.key), .intermediates = {}};
  X509* const certificate = made.certificate.get();
  X509* const signer = issuer != nullptr ? issuer->certificate.get() : certificate;
  X509_set_version(certificate, X509_VERSION_3);
  set_random_serial(certificate);
  X509_gmtime_adj(X509_getm_notBefore(certificate), std::chrono::seconds{request.valid_from}.count());
  X509_gmtime_adj(X509_getm_notAfter(certificate), std::chrono::seconds{request.valid_to}.count());
  require(X509_set_pubkey(certificate, made.key.get()) == 1);
  require(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                                     reinterpret_cast<const unsigned char*>(request.common_name.c_str()), -1, -1,
                                     0) == 1);
  require(X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1);
  add_extensions(certificate, signer, request);
  const EVP_MD* const hash = request.hash == SignatureHash::sha1 ? EVP_sha1() : EVP_sha256();
  require(X509_sign(certificate, issuer != nullptr ? issuer->key.get() : made.key.get(), hash) > 0);
  return made;
}

std::string text_of(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

}  // namespace

std::string Credential::certificate_pem() const {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
  require(PEM_write_bio_X509(out.get(), certificate.get()) == 1);
  for (const auto& above : intermediates) require(PEM_write_bio_X509(out.get(), above.get()) == 1);
  return text_of(out.get());
}

std::string Credential::key_pem(const std::string& pass_phrase) const {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
  const EVP_CIPHER* const cipher = pass_phrase.empty() ? nullptr : EVP_aes_128_cbc();
  require(PEM_write_bio_PrivateKey(out.get(), key.get(), cipher,
                                   reinterpret_cast<const unsigned char*>(pass_phrase.data()),
                                   static_cast<int>(pass_phrase.size()), nullptr, nullptr) == 1);
  return text_of(out.get());
}

Credential make_authority(const std::string& common_name) {
  return make(nullptr, {.common_name = common_name, .is_authority = true});
}

Credential issue(const Credential& issuer, const CertificateRequest& request) {
  Credential made = make(&issuer, request);
  if (X509_self_signed(issuer.certificate.get(), 0) != 1) {
    made.intermediates.push_back(issuer.certificate);
    made.intermediates.insert(made.intermediates.end(), issuer.intermediates.begin(), issuer.intermediates.end());
  }
  return made;
}

Credential self_signed(const CertificateRequest& request) {
  return make(nullptr, request);
}

CertificateRequest server_request(const std::string& name) {
  return {.common_name = "test server", .purpose = "serverAuth", .names = {name}};
}

CertificateRequest agent_request(const std::string& uri) {
  return {.common_name = "test agent", .purpose = "clientAuth", .names = {uri}};
}

CertificateDirectory::CertificateDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "culvert-certificates-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary directory");
  path_ = name;
}

CertificateDirectory::~CertificateDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path CertificateDirectory::write(const std::string& name, const std::string& text) const {
  std::ofstream(path_ / name, std::ios::binary) << text;
  return path_ / name;
}

CredentialFiles CertificateDirectory::write(const std::string& name, const Credential& own,
                                            const Credential& trusted) const {
  return {.certificate = write(name + ".crt", own.certificate_pem()),
          .private_key = write(name + ".key", own.key_pem()),
          .ca = write(name + "-ca.crt", trusted.certificate_pem())};
}

}  // namespace culvert::testing
