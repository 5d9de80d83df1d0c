// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "common/admin/log.hpp"
#include "server/config/config.hpp"
#include "server/enrolment/signer.hpp"
#include "server/kubernetes/api_client.hpp"

namespace culvert::server {

/// What has become of a CertificateRequest of cert-manager.io/v1.
struct RequestOutcome {
  enum class Kind : std::uint8_t { pending, issued, denied, failed };
  Kind kind = Kind::pending;
  std::string text;  ///< denied, failed: cert-manager's message. issued: the certificate and those above it, in PEM.
};
RequestOutcome outcome_of(const boost::json::object& request);

/// The object that asks `issuer` for a certificate. `request` is PKCS #10 in DER.
boost::json::object request_object(std::span<const std::byte> request, const EnrolmentSettings::Issuer& issuer,
                                   std::chrono::seconds lifetime);

/// The certificates of a text in PEM, in its order, as DER one after the other; nothing else may be between them. Code
/// "kubernetes.malformed".
Result<std::vector<std::byte>> certificates_in(std::string_view pem);

/// Makes certificates by an issuer of cert-manager, so that the server never holds a signing key. At home; a request
/// that has begun may outlive the Cluster, and ends properly.
class CertificateRequests final : public Signer {
 public:
  /// `log` outlives it.
  CertificateRequests(std::shared_ptr<ApiClient> client, Log& log, std::string_view name_space,
                      EnrolmentSettings::Issuer issuer);

  /// Takes as long as the issuer does, 50 s at most.
  boost::asio::awaitable<Granted<SignedCertificate>> sign(std::vector<std::byte> request, std::string identity,
                                                          std::chrono::seconds lifetime) override;

 private:
  boost::asio::awaitable<Granted<std::string>> create(boost::json::object object);
  boost::asio::awaitable<Granted<SignedCertificate>> wait(std::string path, std::string identity);
  Granted<SignedCertificate> accept(std::string_view pem, std::string_view identity);
  std::unexpected<protocol::Denied> refuse(std::string_view identity, bool retryable, std::string_view why,
                                           std::string_view text);

  const std::shared_ptr<ApiClient> client_;
  Log& log_;
  const std::string collection_;
  const EnrolmentSettings::Issuer issuer_;
};

}  // namespace culvert::server
