// SPDX-License-Identifier: Apache-2.0
#include "common/tls/tls_failure.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "common/tls/certificate.hpp"
#include "common/tls/verify_peer.hpp"

namespace culvert {
namespace {

std::string_view peer_of(const SSL* ssl) {
  return SSL_is_server(ssl) == 1 ? "client" : "server";
}

/// For a server that is not below the authority that a join token pins.
Error describe_wrong_pin(const Refusal& refused) {
  return {"tls.wrong_pin",
          fmt::format(
              "the server is not the one that the token is for: none of the certificates that it sent is of an "
              "authority that has the key that the token pins and has signed the server's certificate ({}); check that "
              "the address leads to your Culvert server, that nothing in between ends TLS, and that the server sends "
              "its authority's certificate, or have a new token made",
              refused.certificate)};
}

/// For the case that we refused the peer's certificate.
Error describe_refusal(const SSL* ssl, const Refusal& refused) {
  const std::string which =
      fmt::format("{} ({})",
                  refused.depth == 0 ? fmt::format("the {}'s certificate", peer_of(ssl))
                                     : fmt::format("a CA certificate above the {}'s", peer_of(ssl)),
                  refused.certificate);
  const bool from_client = SSL_is_server(ssl) == 1;
  switch (refused.verify_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {"tls.certificate_expired",
              fmt::format("{} has expired; have a new one issued, or check this machine's clock", which)};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {"tls.certificate_not_yet_valid",
              fmt::format("{} is not valid yet; check the clocks of both machines", which)};
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      if (refused.is_pinned) return describe_wrong_pin(refused);
      return {"tls.unknown_ca",
              fmt::format(
                  "{} is not signed by a CA that is trusted here ({}); put the CA that signed it into the file that "
                  "{} names, and let the {} send its intermediates",
                  which, X509_verify_cert_error_string(refused.verify_error),
                  from_client ? "client_ca" : "ca (of a back end: backend_ca)", peer_of(ssl))};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {"tls.wrong_name", fmt::format("{} is not for \"{}\"; correct the address or server_name (of a back end: "
                                            "backend_server_name), or have a certificate "
                                            "issued for that name",
                                            which, printable(refused.expected_name))};
    case X509_V_ERR_INVALID_PURPOSE:
      return {"tls.wrong_purpose", fmt::format("{} has the wrong purpose: its extended key usage must name {}", which,
                                               from_client ? "clientAuth" : "serverAuth")};
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
      return {"tls.weak_certificate",
              fmt::format("{} is too weak ({}); have it issued with EC P-256 or RSA of at least 2048 bits, and SHA-256",
                          which, X509_verify_cert_error_string(refused.verify_error))};
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return {"tls.chain_too_long", fmt::format("{} has too many intermediates above it; 4 are allowed", which)};
    default:
      return {"tls.bad_certificate",
              fmt::format("{} is refused: {}", which, X509_verify_cert_error_string(refused.verify_error))};
  }
}

/// What to do if the versions do not match.
std::string_view version_remedy(const SSL* ssl) {
  const bool is_tunnel = SSL_CTX_get_min_proto_version(SSL_get_SSL_CTX(ssl)) == TLS1_3_VERSION;
  return is_tunnel ? "" : "; for an old back end set tls_minimum in its system_mapping, or have it updated";
}

/// For the case that the peer refused us.
Error describe_alert(const SSL* ssl, int alert) {
  const std::string said =
      fmt::format("the {} refused with the alert \"{}\"", peer_of(ssl), SSL_alert_desc_string_long(alert));
  switch (alert) {
    case SSL_AD_NO_APPLICATION_PROTOCOL:
      return {"tls.no_application_protocol",
              fmt::format("{}: it does not speak our application protocol; check address and port", said)};
    case SSL_AD_PROTOCOL_VERSION:
      return {"tls.protocol_version",
              fmt::format("{}: no TLS version is allowed by both{}", said, version_remedy(ssl))};
    case SSL_AD_CERTIFICATE_REQUIRED:
      return {"tls.no_client_certificate",
              fmt::format("{}: it requires a client certificate, and none is configured", said)};
    case SSL_AD_UNKNOWN_CA:
      return {"tls.peer_refused",
              fmt::format("{}: our certificate is not signed by a CA that it trusts; compare its CA file", said)};
    case SSL_AD_CERTIFICATE_EXPIRED:
      return {"tls.peer_refused",
              fmt::format("{}: our certificate has expired by its clock; renew it, or check the clocks", said)};
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
      return {"tls.peer_refused",
              fmt::format("{}: our certificate has the wrong purpose; check its extended key usage", said)};
    case SSL_AD_BAD_CERTIFICATE:
      // OpenSSL's alert for a certificate that is not valid yet, too.
      return {"tls.peer_refused",
              fmt::format("{}: it does not accept our certificate; its log says why. If the certificate is new, check "
                          "the clocks of both machines",
                          said)};
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_ACCESS_DENIED:
      return {"tls.peer_refused", fmt::format("{}: it does not accept our certificate; its log says why", said)};
    default: return {"tls.peer_refused", fmt::format("{}; its log may say why", said)};
  }
}

/// For errors on our own side of the protocol. Nothing if the reason has no text of its own.
std::optional<Error> describe_reason(const SSL* ssl, int reason) {
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return Error{"tls.no_client_certificate",
                   "the client presented no certificate; configure its certificate and key"};
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return Error{"tls.no_application_protocol",
                   "the client does not offer the protocol culvert/1 (ALPN): it is not a Culvert agent"};
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
      return Error{"tls.protocol_version", fmt::format("the {} offers no TLS version that is allowed here{}",
                                                       peer_of(ssl), version_remedy(ssl))};
    case SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED:
      return Error{"tls.legacy_renegotiation",
                   fmt::format("the {} does not know secure renegotiation (RFC 5746), so an attacker may put bytes "
                               "before ours; have it updated, or set tls_legacy = true in its system_mapping",
                               peer_of(ssl))};
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return Error{"tls.not_tls", "the client sent plain HTTP, and this port accepts TLS only"};
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_RECORD_TOO_SMALL:
      if (SSL_is_init_finished(ssl) == 1) return std::nullopt;
      return Error{"tls.not_tls",
                   fmt::format("the {} does not use TLS, perhaps plain text; check address and port", peer_of(ssl))};
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
      return Error{"tls.certificate_too_large",
                   fmt::format("the {} sent a larger handshake message than is allowed; certificates may have "
                               "32 KiB in all",
                               peer_of(ssl))};
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return Error{"tls.closed", fmt::format("the {} closed the connection without ending TLS", peer_of(ssl))};
    default: return std::nullopt;
  }
}

/// What a peer speaks instead of TLS, by its first bytes; "" if that is not known.
std::string name_plain_protocol(const SSL* ssl, std::string_view opening) {
  using namespace std::string_view_literals;
  if (SSL_is_server(ssl) == 0)
    return opening.starts_with("HTTP/") ? "the server answers in plain HTTP, not TLS; check address and port" : "";
  for (const auto& [version, start] : {std::pair(1, "PROXY "sv), std::pair(2, "\r\n\r\n\0\r\nQUIT\n"sv)}) {
    if (!opening.starts_with(start)) continue;
    return fmt::format(
        "the client sent a header of the PROXY protocol, version {}, and this port accepts TLS only; turn "
        "that protocol off in the load balancer in front",
        version);
  }
  if (opening.substr(0, opening.find('\r')).contains(" HTTP/"))
    return "the client sent plain HTTP, and this port accepts TLS only; a health check must use TCP";
  return "";
}

Error describe(const SSL* ssl, int kind, unsigned long error) {
  if (kind == SSL_ERROR_ZERO_RETURN) return {"tls.closed", fmt::format("the {} has ended TLS", peer_of(ssl))};
  if (error == 0) {
    return {"tls.closed",
            fmt::format("the connection was lost while the {} was expected to continue with TLS", peer_of(ssl))};
  }
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
      return describe_refusal(
          ssl, refusal(ssl).value_or(Refusal{static_cast<int>(SSL_get_verify_result(ssl)), 0, "", "unknown"}));
    }
    if (reason >= SSL_AD_REASON_OFFSET) return describe_alert(ssl, reason - SSL_AD_REASON_OFFSET);
    if (std::optional<Error> known = describe_reason(ssl, reason)) return *known;
  }
  const char* const words = ERR_reason_error_string(error);
  return {"tls.failed", fmt::format("TLS with the {} failed: {}", peer_of(ssl),
                                    words != nullptr ? words : fmt::format("error {:x}", error))};
}

}  // namespace

Error describe_tls_failure(const ssl_st* ssl, int result, std::span<const std::byte> opening) {
  const int kind = SSL_get_error(ssl, result);  // Reads the error queue, so it comes first.
  // The cause is the oldest error of TLS itself: earlier errors are its details (a bad signature, for example), and
  // later ones its consequences.
  unsigned long cause = ERR_peek_error();
  while (const unsigned long next = ERR_get_error()) {
    if (ERR_GET_LIB(next) != ERR_LIB_SSL) continue;
    cause = next;
    break;
  }
  ERR_clear_error();
  Error error = describe(ssl, kind, cause);
  if (error.code == "tls.not_tls") {
    std::string named = name_plain_protocol(ssl, {reinterpret_cast<const char*>(opening.data()), opening.size()});
    if (!named.empty()) error.text = std::move(named);
  }
  return error;
}

}  // namespace culvert
