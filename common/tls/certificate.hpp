// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "common/tls/digest.hpp"

struct X509_pubkey_st;
struct x509_st;

namespace culvert {

/// Facts about a certificate, for logs, status and metrics. Texts are printable ASCII and bounded, whatever the
/// certificate contains.
struct CertificateFacts {
  std::string subject;  ///< In the form of RFC 2253; may be empty.
  std::string names;    ///< Subject alternative names: "DNS:a.example, IP:10.0.0.1, URI:spiffe://…"; may be empty.
  std::string serial;   ///< Lower-case hex without leading zeros.
  std::chrono::sys_seconds not_before;
  std::chrono::sys_seconds not_after;
};

/// Neither changes nor keeps `certificate`.
CertificateFacts certificate_facts(const x509_st* certificate);

/// Lower-case hex without leading zeros, like CertificateFacts::serial and the deny list.
std::string certificate_serial(const x509_st* certificate);

/// Digest of a public key (DER of SubjectPublicKeyInfo), by which it is pinned.
Sha256 key_pin(const x509_st* certificate);
Sha256 key_pin(const X509_pubkey_st* key);

/// Seconds from now to a certificate's end, for a metric; negative once it has ended.
double seconds_left(std::chrono::sys_seconds not_after);

/// "2027-01-31 23:59:59 UTC".
std::string to_text(std::chrono::sys_seconds time);

/// Makes foreign text safe for a log line: bytes that are not printable ASCII become '?', and a long text ends with
/// "…".
std::string printable(std::string_view text);

}  // namespace culvert
