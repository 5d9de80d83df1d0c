// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

struct x509_st;

namespace culvert {

/// What a person or a metric wants to know of a certificate. Texts are printable ASCII and bounded, whoever wrote the
/// certificate.
struct CertificateFacts {
  std::string subject;  ///< As RFC 2253 writes it; may be empty.
  std::string names;    ///< Subject alternative names: "DNS:a.example, IP:10.0.0.1, URI:spiffe://…"; may be empty.
  std::string serial;   ///< Lower-case hex without leading zeros.
  std::chrono::sys_seconds not_before;
  std::chrono::sys_seconds not_after;
};

/// Reads; changes and keeps nothing.
CertificateFacts certificate_facts(const x509_st* certificate);

/// Lower-case hex without leading zeros, as CertificateFacts::serial and the deny list have it.
std::string certificate_serial(const x509_st* certificate);

/// "2027-01-31 23:59:59 UTC".
std::string to_text(std::chrono::sys_seconds time);

/// Foreign text made fit for a log line: what is not printable ASCII becomes '?', and a long one ends with "…".
std::string printable(std::string_view text);

}  // namespace culvert
