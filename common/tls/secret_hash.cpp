// SPDX-License-Identifier: Apache-2.0
#include "common/tls/secret_hash.hpp"

#include <algorithm>
#include <charconv>
#include <span>

#include <fmt/core.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "protocol/check.hpp"

namespace culvert {

namespace {

constexpr unsigned log_cost_usual = 14;
constexpr unsigned log_cost_min = 10;
constexpr unsigned log_cost_max = 17;  // 128 MiB.
constexpr std::uint64_t block_size = 8;
constexpr std::uint64_t memory_bytes_max = 160ull << 20;
constexpr std::string_view prefix = "$scrypt$ln=";
constexpr std::string_view parameters = ",r=8,p=1$";
/// Correct secrets to remember: more than a configuration has.
constexpr std::size_t remembered_max = 10'000;

std::string encode(std::span<const unsigned char> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  text.erase(text.find_last_not_of('=') + 1);
  return text;
}

/// Decodes exactly as many bytes as fit into `bytes`, and accepts one spelling only.
bool decode(std::string_view text, std::span<unsigned char> bytes) {
  std::string padded(text);
  padded.resize((text.size() + 3) / 4 * 4, '=');
  std::string decoded(padded.size() / 4 * 3, '\0');
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(decoded.data()),
                      reinterpret_cast<const unsigned char*>(padded.data()), static_cast<int>(padded.size()));
  if (size < 0 || decoded.size() < bytes.size()) return false;
  std::copy_n(decoded.begin(), bytes.size(), bytes.begin());
  return encode(bytes) == text;
}

void random(std::span<unsigned char> bytes) {
  check(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1, "OpenSSL has random numbers");
}

/// Returns false when there is not enough memory.
bool scrypt(std::string_view secret, std::span<const unsigned char> salt, unsigned log_cost,
            std::span<unsigned char> hash) {
  return EVP_PBE_scrypt(secret.data(), secret.size(), salt.data(), salt.size(), 1ull << log_cost, block_size, 1,
                        memory_bytes_max, hash.data(), hash.size()) == 1;
}

}  // namespace

Result<SecretHash> SecretHash::of(std::string_view secret) {
  SecretHash made;
  made.log_cost_ = log_cost_usual;
  random(made.salt_);
  if (!scrypt(secret, made.salt_, made.log_cost_, made.hash_))
    return fail("secret.not_hashed", "scrypt failed: it needs 16 MiB of memory");
  made.text_ = fmt::format("{}{}{}{}${}", prefix, made.log_cost_, parameters, encode(made.salt_), encode(made.hash_));
  return made;
}

Result<SecretHash> SecretHash::parse(std::string_view text) {
  const auto malformed = [] {
    return fail("secret.malformed_hash",
                "must be a hash as `culvert-server hash-secret` makes it: $scrypt$ln=14,r=8,p=1$…$…");
  };
  SecretHash parsed;
  parsed.text_ = text;
  if (!text.starts_with(prefix)) return malformed();
  text.remove_prefix(prefix.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed.log_cost_);
  if (error != std::errc() || parsed.log_cost_ < log_cost_min || parsed.log_cost_ > log_cost_max) return malformed();
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (!text.starts_with(parameters)) return malformed();
  text.remove_prefix(parameters.size());
  const std::size_t dollar = text.find('$');
  if (dollar == text.npos || !decode(text.substr(0, dollar), parsed.salt_) ||
      !decode(text.substr(dollar + 1), parsed.hash_))
    return malformed();
  return parsed;
}

SecretHash SecretHash::unmatchable() {
  SecretHash made;
  made.log_cost_ = log_cost_usual;
  return made;
}

bool SecretHash::matches(std::string_view secret) const {
  decltype(hash_) hash{};
  return scrypt(secret, salt_, log_cost_, hash) && CRYPTO_memcmp(hash.data(), hash_.data(), hash.size()) == 0;
}

SecretChecker::SecretChecker() {
  random(key_);
}

SecretChecker::Fingerprint SecretChecker::fingerprint_of(std::string_view secret) const {
  Fingerprint made{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(secret.data()),
       secret.size(), made.data(), &size);
  return made;
}

bool SecretChecker::is_right(const SecretHash& hash, std::string_view secret) {
  const Fingerprint fingerprint = fingerprint_of(secret);
  const auto known = right_.find(hash.text());
  if (known != right_.end() && CRYPTO_memcmp(known->second.data(), fingerprint.data(), fingerprint.size()) == 0)
    return true;
  if (!hash.matches(secret)) return false;
  if (right_.size() >= remembered_max) right_.clear();
  right_[hash.text()] = fingerprint;
  return true;
}

}  // namespace culvert
