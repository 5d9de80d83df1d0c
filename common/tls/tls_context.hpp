// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "common/base/error.hpp"
#include "common/config/settings.hpp"
#include "common/tls/certificate.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace culvert {

struct SslFree {
  void operator()(ssl_st* ssl) const noexcept;
};
/// One end of one TLS connection. It keeps alive what it needs of its context.
using UniqueSsl = std::unique_ptr<ssl_st, SslFree>;

/// The only application protocol that a tunnel speaks (ALPN).
inline constexpr std::string_view tunnel_protocol = "culvert/1";

/// How the agent trusts a tcps back end, and proves itself to it where that is wanted. PEM files.
struct BackendCredentials {
  std::filesystem::path ca;                  ///< Empty: the system's store.
  std::filesystem::path client_certificate;  ///< Empty: none is shown.
  std::filesystem::path client_key;
};

/// What all connections of one kind share: certificate, trust, versions, ciphers. An immutable value: copies are cheap
/// and share one SSL_CTX, and may be used on any thread. A change of files makes a new context; connections under way
/// keep the old one.
///
/// The factories read files, so they block: call them off the workers. Their errors name the file and what to do; codes
/// as in credentials.hpp, and tls.wrong_purpose where our own certificate could never be accepted by the other side.
class TlsContext {
 public:
  /// The end of a tunnel that accepts: TLS 1.3, asks for a client certificate that names clientAuth, refuses who does
  /// not offer culvert/1. `agent_identity` says afterwards who it is.
  static Result<TlsContext> for_server(const CredentialFiles& files);

  /// The end of a tunnel that dials: TLS 1.3, demands serverAuth. Each connection needs `set_expected_server_name`
  /// before its handshake (else it takes nobody), and `check_tunnel_protocol` after it.
  static Result<TlsContext> for_agent(const CredentialFiles& files);

  /// The agent towards a back end: TLS 1.2 or 1.3, any application protocol. Each connection needs
  /// `set_expected_server_name`.
  static Result<TlsContext> for_backend(const BackendCredentials& credentials);

  /// A fresh connection in this context's role (for_server accepts, the others dial), without a BIO. Throws
  /// std::bad_alloc only.
  [[nodiscard]] UniqueSsl make_ssl() const;

  /// Our own certificate; none where for_backend was given none.
  [[nodiscard]] const std::optional<CertificateFacts>& own_certificate() const { return parts_->own_certificate; }

 private:
  enum class Role : std::uint8_t { server, agent, backend };
  struct ContextFree {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  struct Parts {
    Role role = Role::backend;
    std::unique_ptr<ssl_ctx_st, ContextFree> context;
    std::optional<CertificateFacts> own_certificate;
  };

  explicit TlsContext(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  static Result<TlsContext> for_tunnel(Role role, const CredentialFiles& files);

  std::shared_ptr<const Parts> parts_;
};

/// After the handshake of a tunnel: both have agreed on culvert/1. A server has made sure of it already; an agent must
/// ask. Code tls.no_application_protocol.
Result<void> check_tunnel_protocol(const ssl_st* ssl);

}  // namespace culvert
