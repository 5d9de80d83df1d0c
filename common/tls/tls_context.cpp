// SPDX-License-Identifier: Apache-2.0
#include "common/tls/tls_context.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

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

#include "common/tls/authority.hpp"
#include "common/tls/credentials.hpp"
#include "common/tls/join_anchor.hpp"
#include "common/tls/peer_pin.hpp"
#include "common/tls/verify_peer.hpp"

namespace culvert {
namespace {

constexpr int intermediates_max = 4;
constexpr std::size_t certificate_message_bytes_max = 32 << 10;
constexpr int security_level = 2;  // RSA and DH from 2048 bits, EC from 224, no SHA-1.
constexpr const char* groups = "X25519:P-256:P-384";

// ALPN's form of a list of protocols: each one after its length.
constexpr std::array<unsigned char, 10> alpn_list{9, 'c', 'u', 'l', 'v', 'e', 'r', 't', '/', '1'};
static_assert(alpn_list[0] == tunnel_protocol.size() && alpn_list.size() == tunnel_protocol.size() + 1);
constexpr std::array<unsigned char, 15> join_alpn_list{14,  'c', 'u', 'l', 'v', 'e', 'r', 't',
                                                       '-', 'j', 'o', 'i', 'n', '/', '1'};
static_assert(join_alpn_list[0] == join_protocol.size() && join_alpn_list.size() == join_protocol.size() + 1);

bool cpu_has_aes() {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("aes") != 0;
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
  return false;
#endif
}

/// On a CPU without AES, ChaCha20 is about three times as fast. AES-128 comes before AES-256: it is faster, and no
/// known attack breaks either.
const char* cipher_suites() {
  return cpu_has_aes() ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
                       : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
}

/// Refuses an agent that offers only other protocols. (OpenSSL does not call it for an agent that offers none: see
/// `demand_alpn`.) It is called before the server asks for a certificate.
int select_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered,
                unsigned int offered_size, void* /*user*/) {
  unsigned char* match = nullptr;
  const auto takes = [&](const auto& list) {
    return SSL_select_next_proto(&match, chosen_size, list.data(), static_cast<unsigned>(list.size()), offered,
                                 offered_size) == OPENSSL_NPN_NEGOTIATED;
  };
  if (!takes(alpn_list) && !(takes(join_alpn_list) && begin_join(ssl))) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

bool has_chosen(const SSL* ssl, std::string_view protocol) {
  const unsigned char* chosen = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &chosen, &size);
  return std::ranges::equal(std::span(chosen, size), protocol);
}

int demand_alpn(SSL* ssl, int* alert, void* /*user*/) {
  const unsigned char* value = nullptr;
  std::size_t size = 0;
  // A client without TLS 1.3 must get the alert about its version: OpenSSL checks versions only after this call.
  const bool knows_tls13 = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &value, &size) == 1;
  if (!knows_tls13 ||
      SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &value, &size) == 1) {
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  ERR_raise(ERR_LIB_SSL, SSL_R_NO_APPLICATION_PROTOCOL);
  *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  return SSL_CLIENT_HELLO_ERROR;
}

/// Settings for all connections. Returns false if OpenSSL lacks something.
bool harden(SSL_CTX* context, int version_min) {
  SSL_CTX_set_security_level(context, security_level);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  // The system's openssl.cnf may allow it.
  SSL_CTX_clear_options(context, SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // Sends exactly the chain of the file: otherwise OpenSSL completes it from the peers' CAs.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(context, certificate_message_bytes_max);
  SSL_CTX_set_verify_depth(context, intermediates_max);
  return SSL_CTX_set_min_proto_version(context, version_min) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_ciphersuites(context, cipher_suites()) == 1 && SSL_CTX_set1_groups_list(context, groups) == 1;
}

bool harden_acceptor(SSL_CTX* context) {
  // The server chooses the cipher, but an agent whose CPU has no AES gets ChaCha20.
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, &verify_agent);
  SSL_CTX_set_alpn_select_cb(context, &select_alpn, nullptr);
  SSL_CTX_set_client_hello_cb(context, &demand_alpn, nullptr);
  // A resumed connection would skip the check of the certificate (docs/threat-model.md, E9), and early data can be
  // replayed. What a client sends early all the same is skipped (RFC 8446 4.2.10).
  return SSL_CTX_set_num_tickets(context, 0) == 1 && SSL_CTX_set_max_early_data(context, 0) == 1 &&
         SSL_CTX_set_recv_max_early_data(context, SSL3_RT_MAX_PLAIN_LENGTH) == 1;
}

int version_of(TlsVersion version) {
  switch (version) {
    case TlsVersion::tls_1_0: return TLS1_VERSION;
    case TlsVersion::tls_1_1: return TLS1_1_VERSION;
    case TlsVersion::tls_1_2: return TLS1_2_VERSION;
    case TlsVersion::tls_1_3: return TLS1_3_VERSION;
  }
  return TLS1_3_VERSION;
}

/// OpenSSL allows TLS 1.0 and 1.1 at security level 0 only. This keeps our level for all but these versions and their
/// signature: for certificates, ciphers and key exchange.
int allow_old_version(const SSL* ssl, const SSL_CTX* context, int operation, int bits, int id, void* other,
                      void* user) {
  static const auto usual_security = [] {
    const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> fresh(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    return SSL_CTX_get_security_callback(fresh.get());
  }();
  constexpr int kind_bit = 16;
  if (operation == SSL_SECOP_VERSION) return 1;  // The minimum is checked apart.
  if (operation >> kind_bit == SSL_SECOP_OTHER_SIGALG >> kind_bit) return 1;
  return usual_security(ssl, context, operation, bits, id, other, user);
}

int renegotiation_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// Refusing renegotiation is a warning that we send, and nothing else shows it.
void note_refused_renegotiation(const SSL* ssl, int where, int value) {
  if (where != SSL_CB_WRITE_ALERT || (value & 0xff) != SSL_AD_NO_RENEGOTIATION) return;
  static char refused = 0;  // Only its address counts.
  SSL_set_ex_data(const_cast<SSL*>(ssl), renegotiation_index(), &refused);
}

std::unexpected<Error> lacks_something() {
  const char* const words = ERR_reason_error_string(ERR_peek_error());
  const std::string reason = words != nullptr ? words : "out of memory";
  ERR_clear_error();
  return fail(
      "tls.failed",
      fmt::format("this machine's OpenSSL cannot be configured as required (TLS 1.3, {}): {}; check openssl.cnf",
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
  auto parts = for_tunnel(Role::server, files);
  if (!parts) return std::unexpected(std::move(parts.error()));
  return TlsContext(std::move(*parts));
}

Result<TlsContext> TlsContext::for_agent(const CredentialFiles& files) {
  auto parts = for_tunnel(Role::agent, files);
  if (!parts) return std::unexpected(std::move(parts.error()));
  return TlsContext(std::move(*parts));
}

Result<TlsContext> TlsContext::for_enrolling_server(const CredentialFiles& files,
                                                    const std::filesystem::path& authorities) {
  auto parts = for_tunnel(Role::server, files);
  if (!parts) return std::unexpected(std::move(parts.error()));
  SSL_CTX* const context = (*parts)->context.get();
  if (auto trusted = trust_authority(context, authorities, Anchors::authorities); !trusted)
    return std::unexpected(std::move(trusted.error()));
  auto anchor = enable_joining(context, files.certificate);
  if (!anchor) return std::unexpected(std::move(anchor.error()));
  auto trusted_too = read_certificates(authorities);
  if (!trusted_too) return std::unexpected(std::move(trusted_too.error()));
  const auto pins = key_pins(*anchor);
  if (!pins) return std::unexpected(pins.error());
  (*parts)->pin = pins->front();
  (*parts)->authorities = std::move(*anchor);
  (*parts)->authorities.insert((*parts)->authorities.end(), trusted_too->begin(), trusted_too->end());
  return TlsContext(std::move(*parts));
}

Result<TlsContext> TlsContext::for_joining(const Sha256& pin) {
  auto parts = parts_of(Role::joining);
  if (!parts) return std::unexpected(std::move(parts.error()));
  trust_pin((*parts)->context.get(), pin);
  return TlsContext(std::move(*parts));
}

Result<TlsContext> TlsContext::for_joining(const std::filesystem::path& ca) {
  auto parts = parts_of(Role::joining);
  if (!parts) return std::unexpected(std::move(parts.error()));
  if (auto trusted = trust_authority((*parts)->context.get(), ca, Anchors::authorities); !trusted)
    return std::unexpected(std::move(trusted.error()));
  return TlsContext(std::move(*parts));
}

/// What both ends of a tunnel, and of a join connection, have in common: TLS 1.3 and the application protocol.
Result<std::shared_ptr<TlsContext::Parts>> TlsContext::parts_of(Role role) {
  auto parts = std::make_shared<Parts>();
  parts->role = role;
  parts->context.reset(SSL_CTX_new(role == Role::server ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* const context = parts->context.get();
  if (context == nullptr || !harden(context, TLS1_3_VERSION)) return lacks_something();
  if (role == Role::server) {
    if (!harden_acceptor(context)) return lacks_something();
    return parts;
  }
  const std::span<const unsigned char> offered =
      role == Role::joining ? std::span<const unsigned char>(join_alpn_list) : alpn_list;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &verify_server);
  if (SSL_CTX_set_alpn_protos(context, offered.data(), static_cast<unsigned>(offered.size())) != 0)
    return lacks_something();
  return parts;
}

Result<std::shared_ptr<TlsContext::Parts>> TlsContext::for_tunnel(Role role, const CredentialFiles& files) {
  const bool accepts = role == Role::server;
  auto parts = parts_of(role);
  if (!parts) return parts;
  SSL_CTX* const context = (*parts)->context.get();
  Result<CertificateFacts> own = use_certificate(context, files.certificate, files.private_key);
  if (!own) return std::unexpected(std::move(own.error()));
  if (!has_purpose(SSL_CTX_get0_certificate(context), accepts ? Purpose::server : Purpose::agent)) {
    return fail(
        "tls.wrong_purpose",
        fmt::format("{}: the certificate's extended key usage does not name {}; make one with "
                    "scripts/make-certificates {}",
                    files.certificate.string(), accepts ? "serverAuth" : "clientAuth", accepts ? "server" : "agent"));
  }
  (*parts)->own_certificate = std::move(*own);
  if (files.ca.empty()) return parts;
  if (Result<void> trusted = trust_authority(context, files.ca, Anchors::authorities); !trusted)
    return std::unexpected(std::move(trusted.error()));
  return parts;
}

Result<TlsContext> TlsContext::for_backend(const BackendCredentials& credentials) {
  auto parts = std::make_shared<Parts>();
  parts->role = Role::backend;
  parts->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* const context = parts->context.get();
  if (context == nullptr || !harden(context, version_of(credentials.minimum))) return lacks_something();
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &verify_backend);
  SSL_CTX_set_info_callback(context, &note_refused_renegotiation);
  if (credentials.minimum < TlsVersion::tls_1_2) SSL_CTX_set_security_callback(context, &allow_old_version);
  if (credentials.allows_legacy) SSL_CTX_set_options(context, SSL_OP_LEGACY_SERVER_CONNECT);

  if (!credentials.client_certificate.empty()) {
    Result<CertificateFacts> own = use_certificate(context, credentials.client_certificate, credentials.client_key);
    if (!own) return std::unexpected(std::move(own.error()));
    parts->own_certificate = std::move(*own);
    SSL_CTX_set_post_handshake_auth(context, 1);
  }
  if (credentials.ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) return lacks_something();
  } else if (Result<void> trusted = trust_authority(context, credentials.ca, Anchors::any); !trusted) {
    return std::unexpected(std::move(trusted.error()));
  }
  return TlsContext(std::move(parts));
}

Result<TlsContext> TlsContext::for_outside(const OutsideCredentials& credentials) {
  auto parts = std::make_shared<Parts>();
  parts->role = Role::backend;
  parts->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* const context = parts->context.get();
  if (context == nullptr || !harden(context, TLS1_2_VERSION)) return lacks_something();
  if (credentials.skips_verify)
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  else
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &verify_backend);
  SSL_CTX_set_info_callback(context, &note_refused_renegotiation);
  static constexpr unsigned char http_1_1[] = "\x08http/1.1";
  if (SSL_CTX_set_alpn_protos(context, http_1_1, sizeof http_1_1 - 1) != 0) return lacks_something();
  if (!credentials.certificate.empty()) {
    Result<CertificateFacts> own = use_certificate(
        context,
        PemPair{credentials.certificate, credentials.private_key, credentials.certificate_name, credentials.key_name});
    if (!own) return std::unexpected(std::move(own.error()));
    parts->own_certificate = std::move(*own);
    SSL_CTX_set_post_handshake_auth(context, 1);
  }
  if (SSL_CTX_set_default_verify_paths(context) != 1) return lacks_something();
  if (credentials.ca.empty()) return TlsContext(std::move(parts));
  if (Result<void> trusted = trust_authority(context, credentials.ca, Anchors::any); !trusted)
    return std::unexpected(std::move(trusted.error()));
  return TlsContext(std::move(parts));
}

bool TlsContext::is_for(std::string_view name) const {
  X509* const own = SSL_CTX_get0_certificate(parts_->context.get());
  if (own == nullptr) return false;
  const bool fits = X509_check_ip_asc(own, std::string(name).c_str(), 0) == 1 ||
                    X509_check_host(own, name.data(), name.size(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1;
  ERR_clear_error();
  return fits;
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

bool refused_renegotiation(const ssl_st* ssl) {
  return SSL_get_ex_data(ssl, renegotiation_index()) != nullptr;
}

bool is_join_connection(const ssl_st* ssl) {
  return has_chosen(ssl, join_protocol);
}

Result<void> check_tunnel_protocol(const ssl_st* ssl) {
  if (has_chosen(ssl, tunnel_protocol)) return {};
  return fail(
      "tls.no_application_protocol",
      fmt::format("the server uses TLS, but not {}: it is not a Culvert server, or something in front of it ends TLS; "
                  "check address and port, and that everything between passes TLS through",
                  tunnel_protocol));
}

Result<void> check_join_protocol(const ssl_st* ssl) {
  if (has_chosen(ssl, join_protocol)) return {};
  return fail("tls.no_application_protocol",
              fmt::format("the server does not speak {}: it enrols no agents ([enrolment] in its file), or something "
                          "in front of it ends TLS",
                          join_protocol));
}

}  // namespace culvert
