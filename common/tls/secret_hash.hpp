// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/base/error.hpp"

// Secrets of others, which we only have to recognise: kept as scrypt hashes (RFC 7914) with a salt, in the PHC string
// format: $scrypt$ln=14,r=8,p=1$salt$hash. Memory-hard, so that a stolen file gives no weak secret away; in OpenSSL.

namespace culvert {

class SecretHash {
 public:
  /// With a new salt. Takes some 50 ms and 16 MiB. Code "secret.not_hashed".
  static Result<SecretHash> of(std::string_view secret);
  /// Code "secret.malformed_hash".
  static Result<SecretHash> parse(std::string_view text);
  /// Matches nothing, and costs what others cost.
  static SecretHash decoy();

  /// As slow as the hash was to make; the comparison takes constant time.
  bool matches(std::string_view secret) const;
  const std::string& text() const { return text_; }
  friend bool operator==(const SecretHash&, const SecretHash&) = default;

 private:
  std::string text_;
  unsigned log_cost_ = 0;
  std::array<unsigned char, 16> salt_{};
  std::array<unsigned char, 32> hash_{};
};

/// Says whether a secret is right, and remembers which was, so that it is slow only once. On one thread.
class SecretJudge {
 public:
  SecretJudge();
  bool is_right(const SecretHash& hash, std::string_view secret);

 private:
  using Fingerprint = std::array<unsigned char, 32>;
  Fingerprint fingerprint_of(std::string_view secret) const;

  std::array<unsigned char, 32> key_{};  ///< Of this process alone.
  std::unordered_map<std::string, Fingerprint> right_;
};

}  // namespace culvert
