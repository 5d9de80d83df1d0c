// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

struct ssl_st;
struct x509_st;
struct x509_store_ctx_st;

// What OpenSSL asks us while it verifies a chain: callbacks for SSL_CTX_set_verify. They add to its rules, take away
// one (a clock that is a little late), and keep for the error text what OpenSSL forgets.

namespace culvert {

/// A certificate is taken this much before its time, since a new one often meets a clock that is behind.
inline constexpr std::chrono::minutes not_before_leeway{5};

enum class Purpose : std::uint8_t { agent, server };

/// True when the certificate's extended key usage names clientAuth (agent) or serverAuth (server) itself: none at all,
/// and "any", do not do.
bool has_purpose(x509_st* certificate, Purpose purpose);

int verify_agent(int accepted, x509_store_ctx_st* chain);    ///< Demands clientAuth.
int verify_server(int accepted, x509_store_ctx_st* chain);   ///< Demands serverAuth, and that a name was expected.
int verify_backend(int accepted, x509_store_ctx_st* chain);  ///< Demands that a name was expected.

/// Why one of the callbacks above refused the peer.
struct Refusal {
  int verify_error = 0;       ///< X509_V_ERR_…
  int depth = 0;              ///< 0: the peer's own certificate.
  std::string expected_name;  ///< Of the server, DNS name or address; "" where none was expected.
  std::string certificate;    ///< Subject, names, serial, validity, printable.
};
std::optional<Refusal> refusal(const ssl_st* ssl);

}  // namespace culvert
