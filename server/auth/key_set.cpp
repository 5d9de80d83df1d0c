// SPDX-License-Identifier: Apache-2.0
#include "server/auth/key_set.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <cjose/jwk.h>
#include <cjose/jws.h>
#include <fmt/core.h>

#include "common/base/base64url.hpp"
#include "common/base/json_object.hpp"

// The JWKS is parsed here, so that only numbers get into libcjose: no private key, no secret, no other kind.

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::size_t rsa_bytes_min = 2048 / 8;
constexpr std::size_t rsa_bytes_max = 8192 / 8;
constexpr std::size_t exponent_bytes_max = 8;
constexpr std::size_t p256_bytes = 32;
constexpr std::size_t document_elements_max = 10'000;

std::optional<std::string> text_of(const json::value& description, std::string_view name) {
  const json::value* member = description.get_object().if_contains(name);
  if (member == nullptr || !member->is_string()) return std::nullopt;
  return std::string(member->get_string());
}

/// An unsigned number without leading zeros; empty if it is not in base64url.
std::string number_of(const json::value& description, std::string_view name) {
  const auto text = text_of(description, name);
  auto bytes = text ? decode_base64url(*text) : std::nullopt;
  if (!bytes) return {};
  bytes->erase(0, std::min(bytes->find_first_not_of('\0'), bytes->size()));
  return std::move(*bytes);
}

std::uint8_t* bytes_of(std::string& number) {
  return reinterpret_cast<std::uint8_t*>(number.data());
}

cjose_jwk_t* rsa_key(const json::value& description) {
  std::string modulus = number_of(description, "n");
  std::string exponent = number_of(description, "e");
  if (modulus.size() < rsa_bytes_min || modulus.size() > rsa_bytes_max || exponent.empty() ||
      exponent.size() > exponent_bytes_max || exponent == "\1" || (exponent.back() & 1) == 0)
    return nullptr;
  cjose_jwk_rsa_keyspec numbers{};
  numbers.n = bytes_of(modulus);
  numbers.nlen = modulus.size();
  numbers.e = bytes_of(exponent);
  numbers.elen = exponent.size();
  cjose_err error{};
  return cjose_jwk_create_RSA_spec(&numbers, &error);
}

cjose_jwk_t* ec_key(const json::value& description) {
  if (text_of(description, "crv") != "P-256") return nullptr;
  std::string x = number_of(description, "x");
  std::string y = number_of(description, "y");
  if (x.empty() || y.empty() || x.size() > p256_bytes || y.size() > p256_bytes) return nullptr;
  cjose_jwk_ec_keyspec numbers{};
  numbers.crv = CJOSE_JWK_EC_P_256;
  numbers.x = bytes_of(x);
  numbers.xlen = x.size();
  numbers.y = bytes_of(y);
  numbers.ylen = y.size();
  cjose_err error{};
  return cjose_jwk_create_EC_spec(&numbers, &error);  // Refuses a point that is not on the curve.
}

struct JwsFree {
  void operator()(cjose_jws_t* jws) const noexcept { cjose_jws_release(jws); }
};

}  // namespace

struct KeySet::Key {
  struct Free {
    void operator()(cjose_jwk_t* released) const noexcept { cjose_jwk_release(released); }
  };
  std::unique_ptr<cjose_jwk_t, Free> key;
  bool is_rsa = false;
  std::optional<std::string> id;
  std::string algorithm;  ///< The only algorithm that the issuer allows for the key; empty if it names none.
};

KeySet::KeySet() = default;
KeySet::KeySet(KeySet&& other) noexcept = default;
KeySet& KeySet::operator=(KeySet&& other) noexcept = default;
KeySet::~KeySet() = default;

/// Returns nullptr if the key has another purpose.
std::unique_ptr<const KeySet::Key> KeySet::usable(const json::value& description) {
  if (!description.is_object()) return nullptr;
  if (text_of(description, "use").value_or("sig") != "sig") return nullptr;
  const auto kind = text_of(description, "kty");
  auto key = std::make_unique<Key>();
  key->is_rsa = kind == "RSA";
  if (key->is_rsa) key->key.reset(rsa_key(description));
  if (kind == "EC") key->key.reset(ec_key(description));
  if (!key->key) return nullptr;
  key->id = text_of(description, "kid");
  key->algorithm = text_of(description, "alg").value_or("");
  return key;
}

Result<KeySet> KeySet::parse(std::string_view document) {
  const auto malformed = [](std::string_view why) { return fail("jwks.malformed", std::string(why)); };
  if (document.size() > jwks_bytes_max) return malformed("larger than 256 KiB; is it a JSON Web Key Set?");
  const auto root = parse_object(document, document_elements_max);
  const json::value* keys = root ? root->get_object().if_contains("keys") : nullptr;
  if (keys == nullptr || !keys->is_array())
    return malformed("not a JSON Web Key Set: that is an object with an array named keys");
  if (keys->get_array().size() > jwks_keys_max)
    return malformed(fmt::format("has {} keys; at most {} are accepted", keys->get_array().size(), jwks_keys_max));
  KeySet set;
  for (const json::value& description : keys->get_array()) {
    if (auto key = usable(description)) set.keys_.push_back(std::move(key));
  }
  if (set.keys_.empty())
    return malformed("has no key for RS256, PS256 or ES256: RSA of 2048 to 8192 bits, or EC on P-256");
  return set;
}

const KeySet::Key* KeySet::find(const Token& token) const {
  constexpr std::string_view names[] = {"RS256", "PS256", "ES256"};
  const std::string_view algorithm = names[static_cast<std::size_t>(token.algorithm)];
  const Key* found = nullptr;
  for (const auto& key : keys_) {
    if (key->is_rsa != (token.algorithm != TokenAlgorithm::es256)) continue;
    if (!key->algorithm.empty() && key->algorithm != algorithm) continue;
    if (token.key_id && key->id != token.key_id) continue;
    if (found != nullptr) return token.key_id ? found : nullptr;
    found = key.get();
  }
  return found;
}

bool KeySet::verifies(const Token& token, std::string_view text) const {
  const Key* key = find(token);
  if (key == nullptr) return false;
  cjose_err error{};
  const std::unique_ptr<cjose_jws_t, JwsFree> jws(cjose_jws_import(text.data(), text.size(), &error));
  // The algorithm comes from the token, but find() has checked that it fits this kind of key.
  return jws && cjose_jws_verify(jws.get(), key->key.get(), &error);
}

}  // namespace culvert::server
