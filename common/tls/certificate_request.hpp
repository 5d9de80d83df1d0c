// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/secret_file.hpp"
#include "common/tls/digest.hpp"

struct ssl_st;

namespace culvert {

enum class KeyKind : std::uint8_t { p256, rsa3072 };

/// A fresh key, and a request (PKCS #10, DER) for a certificate with it.
struct KeyAndRequest {
  Secret key;  ///< PEM, PKCS #8, not encrypted.
  std::vector<std::byte> request;
};

/// Makes a key, and a request whose only name is the URI `identity`. RSA takes a second: call it off the loops. Code
/// "tls.failed".
Result<KeyAndRequest> make_key_and_request(KeyKind kind, std::string_view identity);
/// A request for a key that exists: PEM as in KeyAndRequest. Codes: "tls.not_pem", "tls.failed".
Result<std::vector<std::byte>> make_request(const Secret& key, std::string_view identity);

/// Checks a request from a peer: one PKCS #10 with nothing behind it, signed by its own key, which is P-256, P-384 or
/// RSA of 3,072 to 4,096 bits, and whose only name is the URI `identity` (empty: any URI). What else it asks for does
/// not count, and neither does its subject. Returns the digest of its public key (DER of SubjectPublicKeyInfo). Code
/// "tls.bad_request"; the text says what is wrong.
Result<Sha256> check_request(std::span<const std::byte> request, std::string_view identity);

/// Binds a late renewal to one TLS connection and to the request (SPEC 8.7): the signature by `key` (PEM).
Result<std::vector<std::byte>> sign_renewal(const ssl_st* ssl, const Secret& key, std::span<const std::byte> request);
/// Whether `signature` is one by the key of `certificate` (DER), on the server's end of the same connection.
bool is_signed_renewal(const ssl_st* ssl, std::span<const std::byte> certificate, std::span<const std::byte> request,
                       std::span<const std::byte> signature);

}  // namespace culvert
