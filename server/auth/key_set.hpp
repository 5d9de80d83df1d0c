// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "server/auth/token.hpp"

namespace culvert::server {

inline constexpr std::size_t jwks_bytes_max = std::size_t{256} << 10;
inline constexpr std::size_t jwks_keys_max = 64;

/// The public keys of one issuer (RFC 7517 5). An immutable value that all workers read.
class KeySet {
 public:
  KeySet(KeySet&& other) noexcept;
  KeySet& operator=(KeySet&& other) noexcept;
  ~KeySet();

  /// Keeps the keys that can verify a token here: RSA of 2048 to 8192 bits, EC on P-256. Ignores other keys, and
  /// private halves. Code "jwks.malformed": not a JWKS, more than jwks_keys_max keys, or no usable key.
  static Result<KeySet> parse(std::string_view document);

  /// Whether the set has the key that signed the token. For a token that names no key, it is the only key of its kind.
  bool has_key_of(const Token& token) const { return find(token) != nullptr; }
  /// Whether that key signed `text`, from which `token` was parsed.
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
