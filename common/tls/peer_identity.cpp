// SPDX-License-Identifier: Apache-2.0
#include "common/tls/peer_identity.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/tls/certificate.hpp"

namespace culvert {
namespace {

constexpr std::size_t spiffe_id_bytes_max = 2048;  // The SPIFFE standard's own limit.
constexpr std::size_t dns_name_bytes_max = 253;
constexpr std::string_view scheme = "spiffe://";

// Not isalnum(), which depends on the locale.
bool is_segment_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

std::unexpected<Error> refuse(std::string code, std::string_view uri, std::string_view rule) {
  return fail(std::move(code), fmt::format("the agent's certificate has the name \"{}\": {}", printable(uri), rule));
}

Result<std::string> only_uri(const X509* certificate) {
  int found = 0;
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, &found, nullptr)),
      &GENERAL_NAMES_free);
  ERR_clear_error();
  if (!names && found == -2)
    return fail("identity.ambiguous",
                "the agent's certificate has two lists of alternative names; have it issued again");
  if (!names && found != -1)
    return fail("identity.malformed",
                "the agent's certificate has a damaged list of alternative names; have it issued again");

  std::string uri;
  int uris = 0;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    ++uris;
    const ASN1_STRING* const value = name->d.uniformResourceIdentifier;
    uri.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
               static_cast<std::size_t>(ASN1_STRING_length(value)));
  }
  if (uris == 0) {
    return fail("identity.missing",
                "the agent's certificate has no URI among its alternative names, so it names no account; "
                "make one with scripts/make-certificates agent");
  }
  if (uris > 1)
    return fail("identity.ambiguous",
                fmt::format("the agent's certificate has {} URIs; it must name one agent only", uris));
  return uri;
}

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> segments;
  while (true) {
    const std::size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

/// Fills account, location and agent only.
Result<AgentIdentity> parse_uri(const std::string& uri, std::string_view trust_domain) {
  if (uri.size() > spiffe_id_bytes_max) return refuse("identity.malformed", uri, "a SPIFFE id has 2048 bytes at most");
  if (!uri.starts_with(scheme))
    return refuse("identity.not_spiffe", uri, "it must begin with spiffe://, in lower case");
  const std::string_view rest = std::string_view(uri).substr(scheme.size());
  if (!std::ranges::all_of(rest, [](char c) { return c == '/' || is_segment_character(c); })) {
    return refuse("identity.forbidden_character", uri,
                  "only letters, digits, '.', '_' and '-' are allowed between the slashes");
  }
  const std::vector<std::string_view> segments = split_path(rest);
  if (segments.front() != trust_domain) {
    return refuse(
        "identity.wrong_trust_domain", uri,
        fmt::format("the trust domain here is \"{}\"; correct trust_domain, or have the certificate issued for it",
                    trust_domain));
  }
  if (!std::ranges::all_of(segments, &is_identity_segment)) {
    return refuse("identity.wrong_segment", uri, "no segment may be empty, \".\" or \"..\"");
  }
  const bool is_default = segments.size() == 5;
  const bool is_located = segments.size() == 7 && segments[3] == "location";
  if ((!is_default && !is_located) || segments[1] != "account" || segments[segments.size() - 2] != "agent") {
    return refuse("identity.wrong_path", uri,
                  "the trust domain must be followed by /account/<account>[/location/<location>]/agent/<name>");
  }
  AgentIdentity identity;
  identity.account = segments[2];
  if (is_located) identity.location = segments[4];
  identity.agent = segments.back();
  return identity;
}

std::string normal_serial(std::string_view text) {
  std::string serial;
  for (const char c : text) {
    if (c == ':' || (c == '0' && serial.empty())) continue;
    serial += c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return serial.empty() ? "0" : serial;
}

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
}

}  // namespace

bool is_identity_segment(std::string_view text) {
  return !text.empty() && text != "." && text != ".." && std::ranges::all_of(text, &is_segment_character);
}

Result<AgentIdentity> agent_identity(const x509_st* certificate, std::string_view trust_domain) {
  if (certificate == nullptr) return fail("identity.missing", "the agent presented no certificate");
  Result<std::string> uri = only_uri(certificate);
  if (!uri) return std::unexpected(std::move(uri.error()));
  Result<AgentIdentity> identity = parse_uri(*uri, trust_domain);
  if (!identity) return identity;
  identity->spiffe_id = std::move(*uri);
  identity->serial = certificate_serial(certificate);
  identity->not_after = certificate_facts(certificate).not_after;
  return identity;
}

Result<AgentIdentity> agent_identity(const ssl_st* ssl, std::string_view trust_domain) {
  return agent_identity(SSL_get0_peer_certificate(ssl), trust_domain);
}

Result<void> set_expected_server_name(ssl_st* ssl, std::string_view name) {
  const std::string text(name);
  X509_VERIFY_PARAM* const rules = SSL_get0_param(ssl);
  bool done = false;
  if (text.find('\0') == std::string::npos && is_address(text)) {
    done = X509_VERIFY_PARAM_set1_ip_asc(rules, text.c_str()) == 1;
  } else if (!text.starts_with('.') && text.size() <= dns_name_bytes_max && is_identity_segment(text)) {
    // A leading dot would mean "any name below". Names in the subject are ignored: only alternative names count.
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    done = SSL_set1_host(ssl, text.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, text.c_str()) == 1;
  }
  ERR_clear_error();
  if (done) return {};
  return fail(
      "tls.server_name_malformed",
      fmt::format("\"{}\" is neither a DNS name nor an IP address, so no certificate can be for it", printable(name)));
}

Denials::Denials(std::span<const std::string> serials, std::span<const std::string> spiffe_ids)
    : spiffe_ids_(spiffe_ids.begin(), spiffe_ids.end()) {
  for (const std::string& serial : serials) serials_.insert(normal_serial(serial));
}

}  // namespace culvert
