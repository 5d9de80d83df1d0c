// SPDX-License-Identifier: Apache-2.0
#include "common/tls/tls_failure.hpp"

#include <string>

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/tls/peer_identity.hpp"
#include "tests/testing/tls_handshake.hpp"

namespace culvert {
namespace {

using namespace testing;

// Refused certificates, versions and protocols: tls_context_test.cpp.

class TlsFailureTest : public ::testing::Test {
 protected:
  std::string server_hears(const std::string& bytes) const {
    const UniqueSsl ssl = accepting(careless_server(server_));
    const std::optional<Error> error = receive(ssl.get(), bytes);
    return error ? error->code : "ok";
  }
  std::string client_hears(const std::string& bytes) const {
    const UniqueSsl ssl = dialling(careless_client());
    const std::optional<Error> error = receive(ssl.get(), bytes);
    return error ? error->code : "ok";
  }

  Credential authority_ = make_authority();
  Credential server_ = issue(authority_, server_request());
};

TEST_F(TlsFailureTest, says_that_the_peer_does_not_speak_tls) {
  EXPECT_EQ(server_hears("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), "tls.not_tls");
  EXPECT_EQ(server_hears("CONNECT a.example:443 HTTP/1.1\r\n\r\n"), "tls.not_tls");
  EXPECT_EQ(server_hears("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), "tls.not_tls");
  EXPECT_EQ(server_hears(std::string(64, '\0')), "tls.not_tls");
  EXPECT_EQ(client_hears("HTTP/1.1 400 Bad Request\r\n\r\n"), "tls.not_tls");
  EXPECT_EQ(client_hears("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), "tls.not_tls");
  EXPECT_EQ(client_hears("220 mail.example ESMTP\r\n"), "tls.not_tls");
}

TEST_F(TlsFailureTest, says_that_the_peer_closed) {
  EXPECT_EQ(server_hears(""), "tls.closed");
  EXPECT_EQ(client_hears(""), "tls.closed");
  EXPECT_EQ(client_hears(std::string("\x16\x03\x03\x00\x7a\x02", 6)), "tls.closed");
}

TEST_F(TlsFailureTest, says_that_the_peer_ended_tls) {
  const UniqueSsl client = dialling(careless_client());
  const UniqueSsl server = accepting(careless_server(server_));
  ASSERT_EQ(shake_hands(client.get(), server.get()).client_code(), "ok");
  SSL_shutdown(server.get());
  char byte = 0;
  const int result = SSL_read(client.get(), &byte, 1);
  EXPECT_EQ(describe_tls_failure(client.get(), result).code, "tls.closed");
}

TEST_F(TlsFailureTest, names_the_alert_that_the_peer_sent) {
  const UniqueSsl client = dialling(careless_client());
  const std::optional<Error> error = receive(client.get(), std::string("\x15\x03\x03\x00\x02\x02\x28", 7));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, "tls.peer_refused");
  EXPECT_NE(error->text.find("handshake failure"), std::string::npos) << error->text;
}

TEST_F(TlsFailureTest, names_the_certificate_that_is_refused_and_when_it_expired) {
  CertificateDirectory directory;
  const TlsContext agent =
      *TlsContext::for_agent(directory.write("agent", issue(authority_, agent_request()), authority_));
  CertificateRequest request = server_request();
  request.valid_to = std::chrono::minutes{-1};
  const Credential expired = issue(authority_, request);
  const UniqueSsl client = agent.make_ssl();
  ASSERT_TRUE(set_expected_server_name(client.get(), "tunnel.example"));
  const UniqueSsl server = accepting(careless_server(expired));
  const Outcome outcome = shake_hands(client.get(), server.get());
  ASSERT_TRUE(outcome.client);
  const CertificateFacts facts = certificate_facts(expired.certificate.get());
  for (const std::string& part : {std::string("the server's certificate"), facts.serial, to_text(facts.not_after)}) {
    EXPECT_NE(outcome.client->text.find(part), std::string::npos) << outcome.client->text;
  }
}

TEST_F(TlsFailureTest, shows_nothing_of_a_hostile_subject_but_printable_text) {
  CertificateDirectory directory;
  const TlsContext acceptor = *TlsContext::for_server(directory.write("server", server_, authority_));
  CertificateRequest request = agent_request();
  request.common_name = "x\r\n\x1b[31mtunnel.up account=acme";
  const UniqueSsl client = dialling(careless_client(self_signed(request)));
  const UniqueSsl server = acceptor.make_ssl();
  const Outcome outcome = shake_hands(client.get(), server.get());
  ASSERT_TRUE(outcome.server);
  EXPECT_EQ(outcome.server->text.find_first_of("\r\n\x1b"), std::string::npos);
}

TEST_F(TlsFailureTest, empties_the_queue_and_reads_the_oldest_error_as_the_cause) {
  const UniqueSsl ssl = dialling(careless_client());
  ERR_raise(ERR_LIB_SSL, SSL_R_NO_APPLICATION_PROTOCOL);
  ERR_raise(ERR_LIB_SSL, SSL_R_CALLBACK_FAILED);
  EXPECT_EQ(describe_tls_failure(ssl.get(), -1).code, "tls.no_application_protocol");
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST_F(TlsFailureTest, falls_back_to_openssls_words) {
  const UniqueSsl ssl = dialling(careless_client());
  ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
  const Error error = describe_tls_failure(ssl.get(), -1);
  EXPECT_EQ(error.code, "tls.failed");
  EXPECT_NE(error.text.find("no shared cipher"), std::string::npos) << error.text;
}

}  // namespace
}  // namespace culvert
