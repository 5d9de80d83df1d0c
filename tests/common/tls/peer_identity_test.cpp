// SPDX-License-Identifier: Apache-2.0
#include "common/tls/peer_identity.hpp"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "tests/testing/certificates.hpp"
#include "tests/testing/tls_handshake.hpp"

namespace culvert {
namespace {

using namespace testing;

/// A certificate whose alternative names are exactly these URIs; OpenSSL's configuration syntax cannot express all of
/// them.
Credential with_uris(const std::vector<std::string>& uris) {
  Credential made = self_signed({});
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(sk_GENERAL_NAME_new_null(),
                                                                            &GENERAL_NAMES_free);
  for (const std::string& uri : uris) {
    GENERAL_NAME* const name = GENERAL_NAME_new();
    ASN1_IA5STRING* const text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, uri.data(), static_cast<int>(uri.size()));
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  X509_add1_ext_i2d(made.certificate.get(), NID_subject_alt_name, names.get(), 0, X509V3_ADD_APPEND);
  return made;
}

std::string code_of(const std::vector<std::string>& uris) {
  const Result<AgentIdentity> identity = agent_identity(with_uris(uris).certificate.get(), "test.example");
  return identity ? "ok" : identity.error().code;
}

TEST(PeerIdentity, reads_account_and_agent_in_the_default_location) {
  const Credential agent = with_uris({"spiffe://test.example/account/acme/agent/plant-1"});
  const Result<AgentIdentity> identity = agent_identity(agent.certificate.get(), "test.example");
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->account, "acme");
  EXPECT_EQ(identity->location, "");
  EXPECT_EQ(identity->agent, "plant-1");
  EXPECT_EQ(identity->spiffe_id, "spiffe://test.example/account/acme/agent/plant-1");
  EXPECT_EQ(identity->serial, certificate_serial(agent.certificate.get()));
  EXPECT_EQ(identity->not_after, certificate_facts(agent.certificate.get()).not_after);
}

TEST(PeerIdentity, reads_a_location) {
  const Credential agent = with_uris({"spiffe://test.example/account/A.b_c-9/location/Berlin/agent/x"});
  const Result<AgentIdentity> identity = agent_identity(agent.certificate.get(), "test.example");
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->account, "A.b_c-9");
  EXPECT_EQ(identity->location, "Berlin");
}

TEST(PeerIdentity, does_not_mind_other_kinds_of_names) {
  const Credential agent =
      self_signed({.names = {"DNS:a.example", "URI:spiffe://test.example/account/a/agent/b", "IP:10.0.0.1"}});
  EXPECT_TRUE(agent_identity(agent.certificate.get(), "test.example"));
}

TEST(PeerIdentity, needs_exactly_one_uri) {
  EXPECT_EQ(agent_identity(static_cast<x509_st*>(nullptr), "test.example").error().code, "identity.missing");
  EXPECT_EQ(agent_identity(self_signed({}).certificate.get(), "test.example").error().code, "identity.missing");
  EXPECT_EQ(agent_identity(self_signed({.names = {"DNS:a.example"}}).certificate.get(), "test.example").error().code,
            "identity.missing");
  EXPECT_EQ(code_of({"spiffe://test.example/account/a/agent/b", "spiffe://test.example/account/c/agent/d"}),
            "identity.ambiguous");
  EXPECT_EQ(code_of({"spiffe://test.example/account/a/agent/b", "https://a.example/"}), "identity.ambiguous");
  // Two extensions with one URI each: a program that reads only one of them could see another agent.
  Credential twice = with_uris({"spiffe://test.example/account/a/agent/b"});
  const Credential other = with_uris({"spiffe://test.example/account/c/agent/d"});
  X509* const from = other.certificate.get();
  X509_add_ext(twice.certificate.get(), X509_get_ext(from, X509_get_ext_by_NID(from, NID_subject_alt_name, -1)), -1);
  EXPECT_EQ(agent_identity(twice.certificate.get(), "test.example").error().code, "identity.ambiguous");
}

TEST(PeerIdentity, refuses_names_that_cannot_be_decoded) {
  const Credential agent = self_signed({});
  const std::unique_ptr<ASN1_OCTET_STRING, decltype(&ASN1_OCTET_STRING_free)> junk(ASN1_OCTET_STRING_new(),
                                                                                   &ASN1_OCTET_STRING_free);
  ASN1_OCTET_STRING_set(junk.get(), reinterpret_cast<const unsigned char*>("junk"), 4);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509_EXTENSION_create_by_NID(nullptr, NID_subject_alt_name, 0, junk.get()), &X509_EXTENSION_free);
  X509_add_ext(agent.certificate.get(), extension.get(), -1);
  EXPECT_EQ(agent_identity(agent.certificate.get(), "test.example").error().code, "identity.malformed");
}

TEST(PeerIdentity, refuses_each_deviation_by_its_rule) {
  using namespace std::string_literals;
  const std::vector<std::pair<std::string, std::string>> table{
      {"https://test.example/account/a/agent/b", "identity.not_spiffe"},
      {"SPIFFE://test.example/account/a/agent/b", "identity.not_spiffe"},
      {"spiffe:/test.example/account/a/agent/b", "identity.not_spiffe"},
      {"", "identity.not_spiffe"},
      {" spiffe://test.example/account/a/agent/b", "identity.not_spiffe"},
      {"spiffe://other.example/account/a/agent/b", "identity.wrong_trust_domain"},
      {"spiffe://test.example.evil/account/a/agent/b", "identity.wrong_trust_domain"},
      {"spiffe://TEST.example/account/a/agent/b", "identity.wrong_trust_domain"},
      {"spiffe:///account/a/agent/b", "identity.wrong_trust_domain"},
      {"spiffe://test.example:443/account/a/agent/b", "identity.forbidden_character"},
      {"spiffe://user@test.example/account/a/agent/b", "identity.forbidden_character"},
      {"spiffe://test.example/account/a%2fb/agent/c", "identity.forbidden_character"},
      {"spiffe://test.example/account/a/agent/b?x=1", "identity.forbidden_character"},
      {"spiffe://test.example/account/a/agent/b#c", "identity.forbidden_character"},
      {"spiffe://test.example/account/a/agent/b\0"s, "identity.forbidden_character"},
      {"spiffe://test.example/account/a/agent/b\0.evil"s, "identity.forbidden_character"},
      {"spiffe://test.example/account/a/agent/b\n", "identity.forbidden_character"},
      {"spiffe://test.example/account/a b/agent/c", "identity.forbidden_character"},
      {"spiffe://test.example/account/\xc3\xa4/agent/c", "identity.forbidden_character"},
      {"spiffe://test.example/account//agent/b", "identity.wrong_segment"},
      {"spiffe://test.example//account/a/agent/b", "identity.wrong_segment"},
      {"spiffe://test.example/account/a/agent/", "identity.wrong_segment"},
      {"spiffe://test.example/account/a/agent/b/", "identity.wrong_segment"},
      {"spiffe://test.example/account/../agent/b", "identity.wrong_segment"},
      {"spiffe://test.example/account/./agent/b", "identity.wrong_segment"},
      {"spiffe://test.example/account/a/location//agent/b", "identity.wrong_segment"},
      {"spiffe://test.example", "identity.wrong_path"},
      {"spiffe://test.example/account/a", "identity.wrong_path"},
      {"spiffe://test.example/account/a/agent/b/c", "identity.wrong_path"},
      {"spiffe://test.example/account/a/agent/b/location/c", "identity.wrong_path"},
      {"spiffe://test.example/Account/a/agent/b", "identity.wrong_path"},
      {"spiffe://test.example/account/a/location/b", "identity.wrong_path"},
      {"spiffe://test.example/account/a/region/b/agent/c", "identity.wrong_path"},
      {"spiffe://test.example/account/" + std::string(2048, 'a') + "/agent/b", "identity.malformed"},
  };
  for (const auto& [uri, code] : table) EXPECT_EQ(code_of({uri}), code) << uri;
}

TEST(PeerIdentity, an_error_shows_the_uri_printable_and_bounded) {
  const std::string uri = "spiffe://test.example/account/\n\x1b[2J" + std::string(1000, 'a');
  const Error error = agent_identity(with_uris({uri}).certificate.get(), "test.example").error();
  EXPECT_EQ(error.text.find('\n'), std::string::npos);
  EXPECT_EQ(error.text.find('\x1b'), std::string::npos);
  EXPECT_LT(error.text.size(), 500u);
}

TEST(CertificateSerial, has_no_leading_zeros_and_small_letters) {
  const Credential made = self_signed({});
  const auto serial_of = [&](long number) {
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate.get()), number);
    return certificate_serial(made.certificate.get());
  };
  EXPECT_EQ(serial_of(0x0abc), "abc");
  EXPECT_EQ(serial_of(1), "1");
  EXPECT_EQ(serial_of(0), "0");
}

TEST(CertificateFacts, hold_for_a_certificate_that_outlives_the_clock_type) {
  const Credential made = self_signed({});
  ASN1_TIME_set_string(X509_getm_notAfter(made.certificate.get()), "99991231235959Z");
  EXPECT_EQ(to_text(certificate_facts(made.certificate.get()).not_after), "9999-12-31 23:59:59 UTC");
}

TEST(CertificateFacts, shorten_a_long_list_of_names) {
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) names.push_back("DNS:a" + std::to_string(i) + ".example");
  const std::string text = certificate_facts(self_signed({.names = names}).certificate.get()).names;
  EXPECT_TRUE(text.ends_with("DNS:a7.example, and 12 more")) << text;
}

TEST(ExpectedServerName, goes_out_as_sni_where_it_is_a_name) {
  const UniqueSsl ssl = dialling(careless_client());
  ASSERT_TRUE(set_expected_server_name(ssl.get(), "tunnel.example"));
  EXPECT_STREQ(SSL_get_servername(ssl.get(), TLSEXT_NAMETYPE_host_name), "tunnel.example");
}

TEST(ExpectedServerName, stays_at_home_where_it_is_an_address) {
  for (const char* address : {"10.0.0.1", "::1", "2001:db8::7"}) {
    const UniqueSsl ssl = dialling(careless_client());
    ASSERT_TRUE(set_expected_server_name(ssl.get(), address)) << address;
    EXPECT_EQ(SSL_get_servername(ssl.get(), TLSEXT_NAMETYPE_host_name), nullptr) << address;
  }
}

TEST(ExpectedServerName, refuses_what_no_certificate_can_be_for) {
  using namespace std::string_literals;
  for (const std::string& name :
       {""s, ".example"s, "a b"s, "a.example\0.evil"s, "[::1]"s, "*.example"s, std::string(254, 'a')}) {
    const UniqueSsl ssl = dialling(careless_client());
    const Result<void> set = set_expected_server_name(ssl.get(), name);
    ASSERT_FALSE(set) << name;
    EXPECT_EQ(set.error().code, "tls.server_name_malformed");
  }
}

TEST(Denials, deny_by_serial_and_by_spiffe_id_and_no_other) {
  const std::vector<std::string> serials{"0A:bc", "7F"};
  const std::vector<std::string> agents{"spiffe://test.example/account/acme/agent/lost"};
  const Denials denials(serials, agents);
  const auto identity = [](const std::string& serial, const std::string& agent) {
    AgentIdentity made;
    made.serial = serial;
    made.spiffe_id = "spiffe://test.example/account/acme/agent/" + agent;
    return made;
  };
  EXPECT_TRUE(denials.denies(identity("abc", "one")));
  EXPECT_TRUE(denials.denies(identity("7f", "one")));
  EXPECT_TRUE(denials.denies(identity("1", "lost")));
  EXPECT_FALSE(denials.denies(identity("1", "one")));
  EXPECT_FALSE(Denials().denies(identity("abc", "lost")));
}

}  // namespace
}  // namespace culvert
