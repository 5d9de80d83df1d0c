// SPDX-License-Identifier: Apache-2.0
#include "common/tls/pem_file.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/base/utc_time.hpp"
#include "common/tls/verify_peer.hpp"

namespace culvert {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t file_bytes_max = 1 << 20;  // The system's whole store is a quarter of that.

struct FileClose {
  void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
};

/// The bytes of a file that may contain a key; the destructor wipes them.
class PemText {
 public:
  explicit PemText(std::vector<char> bytes) : bytes_(std::move(bytes)) {}
  PemText(PemText&&) = default;
  PemText& operator=(PemText&&) = delete;
  PemText(const PemText&) = delete;
  PemText& operator=(const PemText&) = delete;
  ~PemText() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

  [[nodiscard]] std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::vector<char> bytes_;
};

Result<PemText> read_file(const fs::path& path, std::string_view role) {
  const std::unique_ptr<std::FILE, FileClose> file(std::fopen(path.c_str(), "rbe"));
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

/// OpenSSL calls it for an encrypted key. It notes that in `user`, and does not ask at a terminal as OpenSSL's default
/// does.
int refuse_pass_phrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* user) {
  *static_cast<bool*>(user) = true;
  return -1;
}

}  // namespace

Result<std::vector<UniqueX509>> load_certificates(const fs::path& path, std::string_view role) {
  Result<PemText> text = read_file(path, role);
  if (!text) return std::unexpected(text.error());
  return parse_certificates(text->view(), path, role);
}

Result<std::vector<UniqueX509>> parse_certificates(std::string_view pem, const fs::path& path, std::string_view role) {
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
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

UniqueKey parse_key(std::string_view pem, bool* encrypted) {
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  bool asked = false;
  UniqueKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &refuse_pass_phrase, &asked));
  ERR_clear_error();
  if (encrypted != nullptr) *encrypted = asked;
  return key;
}

Result<UniqueKey> load_key(const fs::path& path) {
  Result<PemText> text = read_file(path, "private key");
  if (!text) return std::unexpected(text.error());
  return parse_key_of(text->view(), path);
}

Result<UniqueKey> parse_key_of(std::string_view pem, const fs::path& path) {
  bool encrypted = false;
  UniqueKey key = parse_key(pem, &encrypted);
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
  const auto now = wall_clock_now();
  if (facts.not_after < now) {
    return fail("tls.certificate_expired",
                fmt::format("{}: the certificate expired on {}, and it is {} now; have a new one issued, or check this "
                            "machine's clock",
                            path.string(), to_text(facts.not_after), to_text(now)));
  }
  if (facts.not_before > now + not_before_leeway) {
    return fail("tls.certificate_not_yet_valid",
                fmt::format("{}: the certificate is valid from {} on, and it is {} now; check this machine's clock",
                            path.string(), to_text(facts.not_before), to_text(now)));
  }
  return {};
}

}  // namespace culvert
