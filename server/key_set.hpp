// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "server/token.hpp"

namespace culvert::server {

inline constexpr std::size_t jwks_bytes_max = std::size_t{256} << 10;
inline constexpr std::size_t jwks_keys_max = 64;

/// The public keys of one issuer (RFC 7517 5). An immutable value that all workers read.
class KeySet {
 public:
  KeySet(KeySet&& other) noexcept;
  KeySet& operator=(KeySet&& other) noexcept;
  ~KeySet();

  /// Keeps what can verify a token here: RSA of 2048 to 8192 bits, EC on P-256; a key for something else is passed
  /// over, and so is the private half of one. Code "jwks.malformed": no JWKS, more than jwks_keys_max, or none of use.
  static Result<KeySet> parse(std::string_view document);

  /// Whether the set has a key that the token may have been signed by. A token that names none: the only one of its
  /// kind.
  bool has_key_of(const Token& token) const { return find(token) != nullptr; }
  /// Whether that key has signed `text`, which `token` was parsed from.
  bool verifies(const Token& token, std::string_view text) const;

  std::size_t size() const { return keys_.size(); }

 private:
  struct Key;
  KeySet();
  static std::unique_ptr<const Key> usable(const boost::json::value& description);
  const Key* find(const Token& token) const;

  std::vector<std::unique_ptr<const Key>> keys_;
};

}  // namespace culvert::server
