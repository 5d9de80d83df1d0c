// SPDX-License-Identifier: Apache-2.0
#include "common/tls/tls_context.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "common/tls/credentials.hpp"
#include "common/tls/verify_peer.hpp"

namespace culvert {
namespace {

constexpr int intermediates_max = 4;
constexpr std::size_t certificate_message_bytes_max = 32 << 10;
constexpr int security_level = 2;  // RSA and DH from 2048 bits, EC from 224, no SHA-1.
constexpr const char* groups = "X25519:P-256:P-384";

// As ALPN writes a list of protocols: each with its length in front.
constexpr std::array<unsigned char, 10> alpn_list{9, 'c', 'u', 'l', 'v', 'e', 'r', 't', '/', '1'};
static_assert(alpn_list[0] == tunnel_protocol.size() && alpn_list.size() == tunnel_protocol.size() + 1);

bool cpu_has_aes() {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("aes") != 0;
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
  return false;
#endif
}

/// Without AES in the CPU, ChaCha20 is some three times as fast. AES-128 comes before AES-256: no attack tells them
/// apart, the CPU does.
const char* cipher_suites() {
  return cpu_has_aes() ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
                       : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
}

/// An agent that offers other protocols only. (OpenSSL does not ask us about one that offers none: see `demand_alpn`.)
int select_alpn(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered,
                unsigned int offered_size, void* /*user*/) {
  unsigned char* match = nullptr;
  const int found =
      SSL_select_next_proto(&match, chosen_size, alpn_list.data(), alpn_list.size(), offered, offered_size);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

int demand_alpn(SSL* ssl, int* alert, void* /*user*/) {
  const unsigned char* value = nullptr;
  std::size_t size = 0;
  // Who does not know TLS 1.3 shall hear about that: OpenSSL checks versions only after this call.
  const bool knows_tls13 = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &value, &size) == 1;
  if (!knows_tls13 ||
      SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &value, &size) == 1) {
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  ERR_raise(ERR_LIB_SSL, SSL_R_NO_APPLICATION_PROTOCOL);
  *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  return SSL_CLIENT_HELLO_ERROR;
}

/// What holds for every connection that we make. False where OpenSSL lacks something.
bool harden(SSL_CTX* context, int version_min) {
  SSL_CTX_set_security_level(context, security_level);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // What we send is what the file says: OpenSSL would else complete our chain from the peers' CAs.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(context, certificate_message_bytes_max);
  SSL_CTX_set_verify_depth(context, intermediates_max);
  return SSL_CTX_set_min_proto_version(context, version_min) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_ciphersuites(context, cipher_suites()) == 1 && SSL_CTX_set1_groups_list(context, groups) == 1;
}

bool harden_acceptor(SSL_CTX* context) {
  // The server chooses, except that an agent whose CPU has no AES gets its ChaCha20.
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, &verify_agent);
  SSL_CTX_set_alpn_select_cb(context, &select_alpn, nullptr);
  SSL_CTX_set_client_hello_cb(context, &demand_alpn, nullptr);
  // A resumed connection would skip the check of the certificate (threat E9), and early data can be replayed.
  return SSL_CTX_set_num_tickets(context, 0) == 1 && SSL_CTX_set_max_early_data(context, 0) == 1 &&
         SSL_CTX_set_recv_max_early_data(context, 0) == 1;
}

std::unexpected<Error> lacks_something() {
  const char* const words = ERR_reason_error_string(ERR_peek_error());
  const std::string reason = words != nullptr ? words : "out of memory";
  ERR_clear_error();
  return fail("tls.failed",
              fmt::format("this machine's OpenSSL cannot be set up as needed (TLS 1.3, {}): {}; look at openssl.cnf",
                          groups, reason));
}

}  // namespace

void SslFree::operator()(ssl_st* ssl) const noexcept {
  SSL_free(ssl);
}
void TlsContext::ContextFree::operator()(ssl_ctx_st* context) const noexcept {
  SSL_CTX_free(context);
}

Result<TlsContext> TlsContext::for_server(const CredentialFiles& files) {
  return for_tunnel(Role::server, files);
}
Result<TlsContext> TlsContext::for_agent(const CredentialFiles& files) {
  return for_tunnel(Role::agent, files);
}

Result<TlsContext> TlsContext::for_tunnel(Role role, const CredentialFiles& files) {
  const bool accepts = role == Role::server;
  auto parts = std::make_shared<Parts>();
  parts->role = role;
  parts->context.reset(SSL_CTX_new(accepts ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* const context = parts->context.get();
  if (context == nullptr || !harden(context, TLS1_3_VERSION)) return lacks_something();
  if (accepts) {
    if (!harden_acceptor(context)) return lacks_something();
  } else {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &verify_server);
    if (SSL_CTX_set_alpn_protos(context, alpn_list.data(), alpn_list.size()) != 0) return lacks_something();
  }

  Result<CertificateFacts> own = use_certificate(context, files.certificate, files.private_key);
  if (!own) return std::unexpected(std::move(own.error()));
  if (!has_purpose(SSL_CTX_get0_certificate(context), accepts ? Purpose::server : Purpose::agent)) {
    return fail(
        "tls.wrong_purpose",
        fmt::format("{}: the certificate's extended key usage does not name {}; make one with "
                    "scripts/make-certificates {}",
                    files.certificate.string(), accepts ? "serverAuth" : "clientAuth", accepts ? "server" : "agent"));
  }
  parts->own_certificate = std::move(*own);
  if (Result<void> trusted = trust_authority(context, files.ca, Anchors::authorities); !trusted) {
    return std::unexpected(std::move(trusted.error()));
  }
  return TlsContext(std::move(parts));
}

Result<TlsContext> TlsContext::for_backend(const BackendCredentials& credentials) {
  auto parts = std::make_shared<Parts>();
  parts->role = Role::backend;
  parts->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* const context = parts->context.get();
  if (context == nullptr || !harden(context, TLS1_2_VERSION)) return lacks_something();
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &verify_backend);

  if (!credentials.client_certificate.empty()) {
    Result<CertificateFacts> own = use_certificate(context, credentials.client_certificate, credentials.client_key);
    if (!own) return std::unexpected(std::move(own.error()));
    parts->own_certificate = std::move(*own);
  }
  if (credentials.ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) return lacks_something();
  } else if (Result<void> trusted = trust_authority(context, credentials.ca, Anchors::any); !trusted) {
    return std::unexpected(std::move(trusted.error()));
  }
  return TlsContext(std::move(parts));
}

UniqueSsl TlsContext::make_ssl() const {
  UniqueSsl ssl(SSL_new(parts_->context.get()));
  if (!ssl) throw std::bad_alloc();
  if (parts_->role == Role::server) {
    SSL_set_accept_state(ssl.get());
  } else {
    SSL_set_connect_state(ssl.get());
  }
  return ssl;
}

Result<void> check_tunnel_protocol(const ssl_st* ssl) {
  const unsigned char* chosen = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &chosen, &size);
  if (std::ranges::equal(std::span(chosen, size), tunnel_protocol)) return {};
  return fail(
      "tls.no_application_protocol",
      fmt::format(
          "the server speaks TLS, but not {}: it is not a Culvert server, or something in front of it ends TLS; "
          "check address and port, and that the way is a TLS passthrough",
          tunnel_protocol));
}

}  // namespace culvert
