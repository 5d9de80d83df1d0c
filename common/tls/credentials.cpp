// SPDX-License-Identifier: Apache-2.0
#include "common/tls/credentials.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/tls/verify_peer.hpp"

namespace culvert {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t file_bytes_max = 1 << 20;  // The system's whole store is a quarter of that.

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(STACK_OF(X509) * chain) const { sk_X509_pop_free(chain, X509_free); }
  void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
};
using UniqueX509 = std::unique_ptr<X509, Free>;
using UniqueKey = std::unique_ptr<EVP_PKEY, Free>;

/// The bytes of a file that may contain a key; the destructor wipes them.
class PemText {
 public:
  explicit PemText(std::vector<char> bytes) : bytes_(std::move(bytes)) {}
  PemText(PemText&&) = default;
  PemText& operator=(PemText&&) = delete;
  PemText(const PemText&) = delete;
  PemText& operator=(const PemText&) = delete;
  ~PemText() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

  [[nodiscard]] std::unique_ptr<BIO, Free> bio() const {
    return std::unique_ptr<BIO, Free>(BIO_new_mem_buf(bytes_.data(), static_cast<int>(bytes_.size())));
  }

 private:
  std::vector<char> bytes_;
};

Result<PemText> read_file(const fs::path& path, std::string_view role) {
  const std::unique_ptr<std::FILE, Free> file(std::fopen(path.c_str(), "rbe"));
  std::vector<char> bytes(file_bytes_max + 1);
  std::size_t size = 0;
  if (file) {
    std::setvbuf(file.get(), nullptr, _IONBF, 0);  // So that no second copy of a key stays behind.
    size = std::fread(bytes.data(), 1, bytes.size(), file.get());
  }
  if (!file || std::ferror(file.get()) != 0) {
    return fail("tls.file_unreadable",
                fmt::format("{}: cannot read the {}: {}", path.string(), role, std::strerror(errno)));
  }
  if (size > file_bytes_max) {
    return fail("tls.not_pem",
                fmt::format("{}: the {} is larger than 1 MiB; is it the right file?", path.string(), role));
  }
  bytes.resize(size);
  return PemText(std::move(bytes));
}

/// All certificates of the file, in its order. Other PEM blocks are ignored.
Result<std::vector<UniqueX509>> read_certificates(const fs::path& path, std::string_view role) {
  Result<PemText> text = read_file(path, role);
  if (!text) return std::unexpected(text.error());
  const auto bio = text->bio();
  std::vector<UniqueX509> certificates;
  ERR_clear_error();
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr))
    certificates.emplace_back(certificate);
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
    return fail("tls.not_pem",
                fmt::format("{}: certificate number {} of the {} is damaged ({}); write the file again", path.string(),
                            certificates.size() + 1, role, ERR_reason_error_string(error)));
  }
  return certificates;
}

/// OpenSSL calls it for an encrypted key. It notes that in `user`, and does not ask at a terminal as OpenSSL's default
/// does.
int refuse_pass_phrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* user) {
  *static_cast<bool*>(user) = true;
  return -1;
}

Result<UniqueKey> read_key(const fs::path& path) {
  Result<PemText> text = read_file(path, "private key");
  if (!text) return std::unexpected(text.error());
  const auto bio = text->bio();
  bool encrypted = false;
  UniqueKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &refuse_pass_phrase, &encrypted));
  ERR_clear_error();
  if (key) return key;
  if (encrypted) {
    return fail("tls.key_encrypted",
                fmt::format("{}: the private key is encrypted with a pass phrase; store it without one "
                            "(openssl pkey), readable by this program's user only",
                            path.string()));
  }
  return fail("tls.not_pem",
              fmt::format("{}: holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)", path.string()));
}

Result<void> check_validity(const fs::path& path, const CertificateFacts& facts) {
  const auto now = std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  if (facts.not_after < now) {
    return fail("tls.certificate_expired", fmt::format("{}: the certificate expired on {}; have a new one issued",
                                                       path.string(), to_text(facts.not_after)));
  }
  if (facts.not_before > now + not_before_leeway) {
    return fail("tls.certificate_not_yet_valid",
                fmt::format("{}: the certificate is valid from {} on, and it is {} now; check this machine's clock",
                            path.string(), to_text(facts.not_before), to_text(now)));
  }
  return {};
}

/// Converts OpenSSL's error after the context refused the certificate or the key. Empties OpenSSL's error queue.
Error refused_by_context(const fs::path& certificate) {
  const unsigned long error = ERR_peek_error();
  const int reason = ERR_GET_REASON(error);
  const char* words = ERR_reason_error_string(error);
  ERR_clear_error();
  const std::string text = words != nullptr ? words : "no reason given";
  if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
      (reason == SSL_R_EE_KEY_TOO_SMALL || reason == SSL_R_CA_KEY_TOO_SMALL || reason == SSL_R_CA_MD_TOO_WEAK)) {
    return {"tls.weak_certificate",
            fmt::format("{}: too weak ({}); have it issued with EC P-256 or RSA of at least 2048 bits, and SHA-256",
                        certificate.string(), text)};
  }
  return {"tls.failed", fmt::format("{}: OpenSSL refuses certificate and key: {}", certificate.string(), text)};
}

}  // namespace

Result<CertificateFacts> use_certificate(ssl_ctx_st* context, const fs::path& certificate,
                                         const fs::path& private_key) {
  Result<std::vector<UniqueX509>> chain = read_certificates(certificate, "certificate");
  if (!chain) return std::unexpected(chain.error());
  if (chain->empty()) {
    return fail("tls.not_pem", fmt::format("{}: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)",
                                           certificate.string()));
  }
  Result<UniqueKey> key = read_key(private_key);
  if (!key) return std::unexpected(key.error());

  X509* const leaf = chain->front().get();
  if (X509_check_private_key(leaf, key->get()) != 1) {
    ERR_clear_error();
    return fail("tls.key_mismatch",
                fmt::format("{} is not the key of the first certificate in {}; the leaf comes first, and both "
                            "files must be replaced together",
                            private_key.string(), certificate.string()));
  }
  CertificateFacts facts = certificate_facts(leaf);
  if (Result<void> valid = check_validity(certificate, facts); !valid) return std::unexpected(valid.error());

  const std::unique_ptr<STACK_OF(X509), Free> intermediates(sk_X509_new_null());
  for (std::size_t i = 1; i < chain->size(); ++i) sk_X509_push(intermediates.get(), (*chain)[i].release());
  if (SSL_CTX_use_cert_and_key(context, leaf, key->get(), intermediates.get(), 1) != 1) {
    return std::unexpected(refused_by_context(certificate));
  }
  return facts;
}

Result<void> trust_authority(ssl_ctx_st* context, const fs::path& ca, Anchors anchors) {
  Result<std::vector<UniqueX509>> certificates = read_certificates(ca, "CA file");
  if (!certificates) return std::unexpected(certificates.error());
  if (certificates->empty()) {
    return fail("tls.ca_empty",
                fmt::format("{}: holds no CA certificate in PEM form (-----BEGIN CERTIFICATE-----)", ca.string()));
  }
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  Result<void> last_validity;
  bool any_valid = false;
  for (const UniqueX509& certificate : *certificates) {
    const CertificateFacts facts = certificate_facts(certificate.get());
    if (anchors == Anchors::authorities && X509_check_ca(certificate.get()) == 0) {
      return fail(
          "tls.ca_not_an_authority",
          fmt::format("{}: \"{}\" is not a CA certificate; name the file of the CA that signs the peers, not of a peer",
                      ca.string(), facts.subject));
    }
    last_validity = check_validity(ca, facts);
    any_valid = any_valid || last_validity.has_value();
    X509_STORE_add_cert(store, certificate.get());
  }
  ERR_clear_error();
  if (!any_valid) return last_validity;  // One valid CA is enough: to replace a CA, the new one is added first.
  // An intermediate in the file is an anchor like a root: a file with only the agents' CA trusts only that CA.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return {};
}

}  // namespace culvert
