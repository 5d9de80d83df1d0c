// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/settings.hpp"
#include "common/tls/certificate.hpp"
#include "common/tls/digest.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace culvert {

struct SslFree {
  void operator()(ssl_st* ssl) const noexcept;
};
/// One end of one TLS connection. It keeps the parts of its context alive that it needs.
using UniqueSsl = std::unique_ptr<ssl_st, SslFree>;

/// The only application protocol of a tunnel (ALPN).
inline constexpr std::string_view tunnel_protocol = "culvert/1";
/// That of a join connection, on which an agent that has no valid certificate asks for one (SPEC 8.6).
inline constexpr std::string_view join_protocol = "culvert-join/1";

enum class TlsVersion : std::uint8_t { tls_1_0, tls_1_1, tls_1_2, tls_1_3 };

/// The agent's trust in a tcps back end, and its client certificate if the back end requires one. PEM files. The last
/// two are for old back ends, and weaken the connection.
struct BackendCredentials {
  std::filesystem::path ca;                  ///< Empty: the system's store.
  std::filesystem::path client_certificate;  ///< Empty: none is presented.
  std::filesystem::path client_key;
  TlsVersion minimum = TlsVersion::tls_1_2;  ///< Below TLS 1.2 the handshake is signed with MD5 and SHA-1.
  bool allows_legacy = false;                ///< Servers without secure renegotiation (RFC 5746).
};

/// The server's trust in external systems, and its client certificate if one wants that: texts in PEM, with names for
/// errors.
struct OutsideCredentials {
  std::filesystem::path ca;  ///< In addition to the system's store; empty: none.
  std::string_view certificate;
  std::string_view private_key;
  std::string certificate_name;
  std::string key_name;
  bool skips_verify = false;  ///< Any certificate is accepted.
};

/// The settings that all connections of one kind share: certificate, trust, versions, ciphers. An immutable value:
/// copies are cheap and share one SSL_CTX, and may be used on any thread. When files change, a new context is made;
/// existing connections keep the old one.
///
/// The factories read files, so they block: call them off the workers. Their errors name the file and what to do.
/// Codes: those of credentials.hpp, and tls.wrong_purpose if the other side could never accept our certificate.
class TlsContext {
 public:
  /// For the accepting end of a tunnel: TLS 1.3, requires a client certificate for clientAuth, refuses clients that do
  /// not offer culvert/1. After the handshake `agent_identity` returns the peer's identity.
  static Result<TlsContext> for_server(const CredentialFiles& files);
  /// The same for a server that enrols agents. `authorities` is a PEM file: the authority that signs agents'
  /// certificates, then others that agents must trust. Agents are trusted up to them and to `files.ca`, which may be
  /// empty. Also accepts join connections: without a client certificate, and with the authority above its own
  /// certificate at the end of the chain. Code also: tls.unknown_issuer (neither file has the authority above the
  /// server's own certificate).
  static Result<TlsContext> for_enrolling_server(const CredentialFiles& files,
                                                 const std::filesystem::path& authorities);

  /// For the dialling end of a tunnel: TLS 1.3, requires serverAuth. Each connection needs `set_expected_server_name`
  /// before its handshake (otherwise every server is refused), and `check_tunnel_protocol` after it.
  static Result<TlsContext> for_agent(const CredentialFiles& files);

  /// For the dialling end of a join connection, without a certificate of its own: trusts an authority with the public
  /// key `pin` that the server sends itself, or those of the file `ca`. Needs `set_expected_server_name` before the
  /// handshake and `check_join_protocol` after it.
  static Result<TlsContext> for_joining(const Sha256& pin);
  static Result<TlsContext> for_joining(const std::filesystem::path& ca);

  /// For the agent's connections to a back end: TLS 1.2 or 1.3 unless the credentials say otherwise, any application
  /// protocol. With a client certificate the back end may also ask for it after the handshake, in TLS 1.3. Each
  /// connection needs `set_expected_server_name`.
  static Result<TlsContext> for_backend(const BackendCredentials& credentials);

  /// For the server's connections to external systems: TLS 1.2 or 1.3, and HTTP/1.1 as the only application protocol.
  /// Each connection needs `set_expected_server_name`.
  static Result<TlsContext> for_outside(const OutsideCredentials& credentials);

  /// A new connection in this context's role (for_server accepts, the others dial), without a BIO. Throws
  /// std::bad_alloc only.
  [[nodiscard]] UniqueSsl make_ssl() const;

  /// An enrolling server: the digest of the public key of the authority above its own certificate; and all authorities
  /// that its agents must trust, in DER one after the other.
  [[nodiscard]] const Sha256& pin() const { return parts_->pin; }
  [[nodiscard]] const std::vector<std::byte>& authorities() const { return parts_->authorities; }

  /// Whether our own certificate is for `name`, a DNS name or an IP literal without brackets.
  [[nodiscard]] bool is_for(std::string_view name) const;
  /// The end of our own certificate; the epoch without one.
  [[nodiscard]] std::chrono::sys_seconds not_after() const {
    return parts_->own_certificate.value_or(CertificateFacts{}).not_after;
  }
  /// Our own certificate; nothing if for_backend got none.
  [[nodiscard]] const std::optional<CertificateFacts>& own_certificate() const { return parts_->own_certificate; }

 private:
  enum class Role : std::uint8_t { server, agent, joining, backend };
  struct ContextFree {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  struct Parts {
    Role role = Role::backend;
    std::unique_ptr<ssl_ctx_st, ContextFree> context;
    std::optional<CertificateFacts> own_certificate;
    Sha256 pin{};
    std::vector<std::byte> authorities;
  };

  explicit TlsContext(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  static Result<std::shared_ptr<Parts>> parts_of(Role role);
  static Result<std::shared_ptr<Parts>> for_tunnel(Role role, const CredentialFiles& files);

  std::shared_ptr<const Parts> parts_;
};

/// Checks that both ends agreed on culvert/1. An agent must call it after the handshake of a tunnel; a server has
/// checked it already. Code tls.no_application_protocol.
Result<void> check_tunnel_protocol(const ssl_st* ssl);
/// The same for a join connection.
Result<void> check_join_protocol(const ssl_st* ssl);
/// Server, after the handshake: the agent has chosen a join connection, and has no identity.
bool is_join_connection(const ssl_st* ssl);

/// Returns whether a back end has asked for renegotiation, which is always refused. Up to TLS 1.2 a server does that to
/// ask for a client certificate once it knows the path.
bool refused_renegotiation(const ssl_st* ssl);

}  // namespace culvert
