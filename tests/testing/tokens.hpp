// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;

// Valid and invalid tokens, and the keys that sign them, made by OpenSSL.

namespace culvert::testing {

std::string base64url(std::string_view bytes);

/// An issuer's key pair.
class SigningKey {
 public:
  static SigningKey rsa(std::string id, unsigned bits = 2048);
  static SigningKey ec(std::string id, const std::string& curve = "P-256");

  const std::string& id() const { return id_; }
  /// The public half as a JWK; `more` are further members, each after a comma.
  std::string jwk(std::string_view more = "") const;
  std::string public_pem() const;

  /// A token with exactly these texts as header and claims, signed by `algorithm`: RS256, PS256, ES256, HS256 with the
  /// public key's PEM as its secret, or "none".
  std::string sign(std::string_view algorithm, std::string_view header, std::string_view claims) const;
  /// The same with the matching header.
  std::string sign(std::string_view algorithm, std::string_view claims) const;

 private:
  SigningKey(evp_pkey_st* key, std::string id);
  std::string signature(std::string_view algorithm, std::string_view text) const;
  std::string number(const char* name, std::size_t bytes = 0) const;

  std::shared_ptr<evp_pkey_st> key_;
  std::string id_;
};

/// A JWKS with these keys.
std::string jwks(const std::vector<std::string>& keys);

}  // namespace culvert::testing
