// SPDX-License-Identifier: Apache-2.0
#include "common/tls/peer_pin.hpp"

#include <chrono>
#include <string>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "common/tls/certificate.hpp"
#include "common/tls/peer_identity.hpp"
#include "tests/testing/tls_handshake.hpp"

namespace culvert {
namespace {

using namespace testing;
using namespace std::chrono_literals;

Sha256 pin_of(const Credential& credential) {
  return key_pin(credential.certificate.get());
}

/// Sends `authority` in addition to its own chain.
Credential with(Credential server, const Credential& authority) {
  server.intermediates.push_back(authority.certificate);
  return server;
}

class PeerPin : public ::testing::Test {
 protected:
  /// How the handshake with that server ends for an agent that knows only `pin`.
  static Outcome meets(const Credential& server, const Sha256& pin, const std::string& name = "tunnel.example") {
    UniqueSsl client;
    {
      const RawContext context = careless_client();
      SSL_CTX_set_security_level(context.get(), 2);
      SSL_CTX_set_verify_depth(context.get(), 4);
      trust_pin(context.get(), pin);
      client = dialling(context);
    }
    if (!name.empty()) EXPECT_TRUE(set_expected_server_name(client.get(), name));
    const UniqueSsl peer = accepting(careless_server(server));
    return shake_hands(client.get(), peer.get());
  }

  Outcome meets(CertificateRequest request) const { return meets(with(issue(root_, request), root_), pin_of(root_)); }

  static CertificateRequest changed(void (*change)(CertificateRequest&)) {
    CertificateRequest request = server_request();
    change(request);
    return request;
  }

  Credential root_ = make_authority("root CA");
  Credential middle_ = issue(root_, {.common_name = "middle CA", .is_authority = true});
};

TEST_F(PeerPin, trusts_a_server_below_the_authority_with_the_pinned_key) {
  const Outcome outcome = meets(with(issue(root_, server_request()), root_), pin_of(root_));
  EXPECT_EQ(outcome.client_code(), "ok");
  EXPECT_EQ(outcome.server_code(), "ok");
  EXPECT_EQ(meets(with(issue(root_, server_request("IP:192.0.2.1")), root_), pin_of(root_), "192.0.2.1").client_code(),
            "ok");
}

TEST_F(PeerPin, may_be_of_an_intermediate_or_of_the_root_above_it) {
  const Credential server = issue(middle_, server_request());
  EXPECT_EQ(meets(server, pin_of(middle_)).client_code(), "ok");
  EXPECT_EQ(meets(with(server, root_), pin_of(middle_)).client_code(), "ok");
  EXPECT_EQ(meets(with(server, root_), pin_of(root_)).client_code(), "ok");
  EXPECT_EQ(meets(server, pin_of(root_)).client_code(), "tls.wrong_pin") << "the root is not sent";
}

TEST_F(PeerPin, finds_the_authority_in_any_order) {
  Credential server = issue(middle_, server_request());
  server.intermediates.insert(server.intermediates.begin(), root_.certificate);
  EXPECT_EQ(meets(server, pin_of(root_)).client_code(), "ok");
}

TEST_F(PeerPin, that_fits_no_certificate_refuses_the_server_and_says_so) {
  const Outcome outcome = meets(with(issue(root_, server_request()), root_), pin_of(make_authority()));
  ASSERT_EQ(outcome.client_code(), "tls.wrong_pin");
  EXPECT_TRUE(outcome.client->text.starts_with(
      "the server is not the one that the token is for: none of the certificates that it sent "))
      << outcome.client->text;
  EXPECT_NE(outcome.client->text.find("DNS:tunnel.example"), std::string::npos) << outcome.client->text;
  EXPECT_EQ(outcome.server_code(), "tls.peer_refused");
  EXPECT_EQ(meets(issue(root_, server_request()), pin_of(root_)).client_code(), "tls.wrong_pin") << "it is not sent";
  EXPECT_EQ(meets(with(issue(root_, server_request()), root_), Sha256{}).client_code(), "tls.wrong_pin");
}

TEST_F(PeerPin, is_not_fooled_by_the_authority_s_certificate_beside_another_chain) {
  const Credential other = make_authority("other CA");
  EXPECT_EQ(meets(with(issue(other, server_request()), root_), pin_of(root_)).client_code(), "tls.wrong_pin");
  EXPECT_EQ(meets(with(with(issue(other, server_request()), other), root_), pin_of(root_)).client_code(),
            "tls.wrong_pin");
  EXPECT_EQ(meets(with(self_signed(server_request()), root_), pin_of(root_)).client_code(), "tls.wrong_pin");
  const Credential twin = make_authority("root CA");
  EXPECT_EQ(meets(with(issue(twin, server_request()), root_), pin_of(root_)).client_code(), "tls.wrong_pin")
      << "of the same name";
}

TEST_F(PeerPin, must_be_of_an_authority) {
  const Credential leaf = issue(root_, server_request());
  EXPECT_EQ(meets(with(leaf, root_), pin_of(leaf)).client_code(), "tls.wrong_pin");
  EXPECT_EQ(meets(with(leaf, leaf), pin_of(leaf)).client_code(), "tls.wrong_pin");
  const Credential alone = self_signed(server_request());
  EXPECT_EQ(meets(alone, pin_of(alone)).client_code(), "tls.wrong_pin");
  CertificateRequest request = server_request();
  request.is_authority = true;
  const Credential own = self_signed(request);
  EXPECT_EQ(meets(with(own, own), pin_of(own)).client_code(), "tls.wrong_pin") << "its own is not above it";

  // An agent of the same authority could sign a server, if it counted as one.
  const Credential agent = issue(root_, agent_request());
  EXPECT_EQ(meets(with(issue(agent, server_request()), root_), pin_of(root_)).client_code(), "tls.bad_certificate");
  EXPECT_EQ(meets(with(issue(agent, server_request()), root_), pin_of(agent)).client_code(), "tls.wrong_pin");
}

TEST_F(PeerPin, does_not_take_the_place_of_the_name) {
  const Credential server = with(issue(root_, server_request()), root_);
  const Outcome outcome = meets(server, pin_of(root_), "other.example");
  EXPECT_EQ(outcome.client_code(), "tls.wrong_name");
  EXPECT_EQ(meets(server, pin_of(root_), "192.0.2.1").client_code(), "tls.wrong_name");
  EXPECT_EQ(meets(server, pin_of(root_), "").client_code(), "tls.wrong_name") << "no name is expected";
}

TEST_F(PeerPin, does_not_take_the_place_of_the_other_rules) {
  EXPECT_EQ(meets(server_request()).client_code(), "ok");
  EXPECT_EQ(meets(changed([](auto& request) { request.valid_to = -1min; })).client_code(), "tls.certificate_expired");
  EXPECT_EQ(meets(changed([](auto& request) { request.valid_from = 3min; })).client_code(), "ok") << "the leeway";
  EXPECT_EQ(meets(changed([](auto& request) { request.valid_from = 6min; })).client_code(),
            "tls.certificate_not_yet_valid");
  EXPECT_EQ(meets(changed([](auto& request) { request.purpose = ""; })).client_code(), "tls.wrong_purpose");
  EXPECT_EQ(meets(changed([](auto& request) { request.purpose = "clientAuth"; })).client_code(), "tls.wrong_purpose");
  EXPECT_EQ(meets(changed([](auto& request) { request.purpose = "anyExtendedKeyUsage"; })).client_code(),
            "tls.wrong_purpose");
  EXPECT_EQ(meets(changed([](auto& request) { request.hash = SignatureHash::sha1; })).client_code(),
            "tls.weak_certificate");
  EXPECT_EQ(meets(changed([](auto& request) { request.key = KeyKind::rsa_1024; })).client_code(),
            "tls.weak_certificate");
  const Credential ended = self_signed({.common_name = "ended", .is_authority = true, .valid_to = -1min});
  EXPECT_EQ(meets(with(issue(ended, server_request()), ended), pin_of(ended)).client_code(), "tls.certificate_expired");
}

}  // namespace
}  // namespace culvert
