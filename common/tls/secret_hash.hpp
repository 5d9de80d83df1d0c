// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/base/error.hpp"

// Secrets of clients, which we only have to recognise, are stored as scrypt hashes (RFC 7914) with a salt, in the PHC
// string format: $scrypt$ln=14,r=8,p=1$salt$hash. scrypt is memory-hard, so that a stolen file does not reveal weak
// secrets, and OpenSSL has it.

namespace culvert {

class SecretHash {
 public:
  /// Hashes with a new salt. Takes about 50 ms and 16 MiB. Code "secret.not_hashed".
  static Result<SecretHash> of(std::string_view secret);
  /// Code "secret.malformed_hash".
  static Result<SecretHash> parse(std::string_view text);
  /// A hash that matches no secret, and costs as much as any other.
  static SecretHash unmatchable();

  /// As slow as making the hash; the comparison takes constant time.
  bool matches(std::string_view secret) const;
  const std::string& text() const { return text_; }
  friend bool operator==(const SecretHash&, const SecretHash&) = default;

 private:
  std::string text_;
  unsigned log_cost_ = 0;
  std::array<unsigned char, 16> salt_{};
  std::array<unsigned char, 32> hash_{};
};

/// Checks whether a secret is correct, and remembers correct ones, so that only the first check is slow. One thread
/// only.
class SecretChecker {
 public:
  SecretChecker();
  bool is_right(const SecretHash& hash, std::string_view secret);

 private:
  using Fingerprint = std::array<unsigned char, 32>;
  Fingerprint fingerprint_of(std::string_view secret) const;

  std::array<unsigned char, 32> key_{};  ///< Random key of this process.
  std::unordered_map<std::string, Fingerprint> right_;
};

}  // namespace culvert
