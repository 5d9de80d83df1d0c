// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/config/settings.hpp"

struct x509_st;
struct evp_pkey_st;

// Throw-away certificates for tests, good and bad ones.

namespace culvert::testing {

enum class KeyKind { ec_p256, rsa_2048, rsa_1024 };
enum class SignatureHash { sha256, sha1 };

/// Content of a certificate. The defaults give a leaf without names and purpose, valid for an hour around now.
struct CertificateRequest {
  std::string common_name = "test";
  bool is_authority = false;
  /// Extended key usage in OpenSSL's form: "clientAuth", "serverAuth,clientAuth"; empty: no such extension.
  std::string purpose = {};
  std::vector<std::string> names = {};  ///< As OpenSSL writes them: "DNS:a.example", "IP:127.0.0.1", "URI:spiffe://…".
  std::string constraints = {};         ///< Name constraints of an authority: "permitted;DNS:.example".
  std::chrono::minutes valid_from{-60};
  std::chrono::minutes valid_to{60};
  KeyKind key = KeyKind::ec_p256;
  SignatureHash hash = SignatureHash::sha256;
  std::size_t padding_bytes = 0;  ///< Size of a comment, for a huge certificate.
};

/// A certificate with its key, and the intermediates that a peer sends with it. A cheap copy.
struct Credential {
  std::shared_ptr<x509_st> certificate;
  std::shared_ptr<evp_pkey_st> key;
  std::vector<std::shared_ptr<x509_st>> intermediates;

  std::string certificate_pem() const;                             ///< The chain: leaf first.
  std::string key_pem(const std::string& pass_phrase = {}) const;  ///< Encrypted if there is a pass phrase.
};

Credential make_authority(const std::string& common_name = "test CA");
/// Signed by `issuer`. If that is not a root, the chain contains it and its intermediates.
Credential issue(const Credential& issuer, const CertificateRequest& request);
Credential self_signed(const CertificateRequest& request);

CertificateRequest server_request(const std::string& name = "DNS:tunnel.example");
CertificateRequest agent_request(const std::string& uri = "URI:spiffe://test.example/account/acme/agent/one");

/// A directory under the system's temporary one that lives as long as this object.
class CertificateDirectory {
 public:
  CertificateDirectory();
  CertificateDirectory(const CertificateDirectory&) = delete;
  CertificateDirectory& operator=(const CertificateDirectory&) = delete;
  ~CertificateDirectory();

  std::filesystem::path write(const std::string& name, const std::string& text) const;
  /// `<name>.crt` and `<name>.key` of `own`, `<name>-ca.crt` of `trusted`.
  CredentialFiles write(const std::string& name, const Credential& own, const Credential& trusted) const;

 private:
  std::filesystem::path path_;
};

}  // namespace culvert::testing
