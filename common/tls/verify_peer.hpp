// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

struct ssl_st;
struct x509_st;
struct x509_store_ctx_st;

// Callbacks for SSL_CTX_set_verify, which OpenSSL calls while it verifies a chain. They add rules, relax one (a clock
// that is slightly slow), and keep for the error text what OpenSSL discards.

namespace culvert {

/// A certificate is accepted this long before its validity begins, since clocks may be behind when it is new.
inline constexpr std::chrono::minutes not_before_leeway{5};

enum class Purpose : std::uint8_t { agent, server };

/// True when the certificate's extended key usage names clientAuth (agent) or serverAuth (server) explicitly: neither a
/// missing usage nor "any" is enough.
bool has_purpose(x509_st* certificate, Purpose purpose);

int verify_agent(int accepted, x509_store_ctx_st* chain);    ///< Requires clientAuth.
int verify_server(int accepted, x509_store_ctx_st* chain);   ///< Requires serverAuth, and an expected name.
int verify_backend(int accepted, x509_store_ctx_st* chain);  ///< Requires an expected name.
/// Like verify_server, for a server that is trusted by a pin (peer_pin.hpp).
int verify_pinned_server(int accepted, x509_store_ctx_st* chain);

/// Why one of the callbacks above refused the peer.
struct Refusal {
  int verify_error = 0;       ///< X509_V_ERR_…
  int depth = 0;              ///< 0: the peer's own certificate.
  std::string expected_name;  ///< The server's DNS name or address; "" if none was expected.
  std::string certificate;    ///< Subject, names, serial, validity, printable.
  bool is_pinned = false;     ///< Refused by verify_pinned_server.
};
std::optional<Refusal> refusal(const ssl_st* ssl);

}  // namespace culvert
