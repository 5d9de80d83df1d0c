// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "common/tls/certificate_request.hpp"
#include "tests/testing/openssl_command.hpp"
#include "tests/testing/tls_handshake.hpp"

namespace culvert {
namespace {

using namespace testing;

using Bytes = std::vector<std::byte>;

const std::string identity = "spiffe://test.example/account/acme/agent/one";

std::string as_text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Two ends of one connection.
struct Connection {
  explicit Connection(int version = TLS1_3_VERSION) {
    const Credential authority = make_authority();
    const RawContext context = careless_client();
    SSL_CTX_set_max_proto_version(context.get(), version);
    client = dialling(context);
    server = accepting(careless_server(issue(authority, server_request())));
    EXPECT_EQ(shake_hands(client.get(), server.get()).client_code(), "ok");
  }
  UniqueSsl client;
  UniqueSsl server;
};

class RenewalSignature : public ::testing::Test {
 protected:
  static Bytes der(const Credential& credential) {
    unsigned char* encoded = nullptr;
    Bytes bytes(static_cast<std::size_t>(i2d_X509(credential.certificate.get(), &encoded)));
    std::memcpy(bytes.data(), encoded, bytes.size());
    OPENSSL_free(encoded);
    return bytes;
  }
  static Secret key(const Credential& credential) {
    const std::string pem = credential.key_pem();
    return Secret(std::vector<char>(pem.begin(), pem.end()));
  }

  Credential authority_ = make_authority();
  Credential agent_ = issue(authority_, agent_request());
  Bytes request_ = make_key_and_request(culvert::KeyKind::p256, identity)->request;
};

TEST_F(RenewalSignature, proves_the_old_key_on_its_own_connection_only) {
  const Connection here;
  const Connection there;
  const auto signature = sign_renewal(here.client.get(), key(agent_), request_);
  ASSERT_TRUE(signature);
  EXPECT_TRUE(is_signed_renewal(here.server.get(), der(agent_), request_, *signature));
  EXPECT_FALSE(is_signed_renewal(there.server.get(), der(agent_), request_, *signature));
  EXPECT_FALSE(is_signed_renewal(here.server.get(), der(issue(authority_, agent_request())), request_, *signature));
  EXPECT_FALSE(is_signed_renewal(here.server.get(), der(agent_),
                                 make_key_and_request(culvert::KeyKind::p256, identity)->request, *signature));
  EXPECT_FALSE(is_signed_renewal(here.server.get(), {}, request_, *signature));
  EXPECT_FALSE(is_signed_renewal(here.server.get(), der(agent_), request_, {}));
  EXPECT_FALSE(is_signed_renewal(here.server.get(), Bytes(100), request_, *signature));
  Bytes longer = der(agent_);
  longer.push_back({});
  EXPECT_FALSE(is_signed_renewal(here.server.get(), longer, request_, *signature));
  for (std::size_t bit = 0; bit < signature->size() * 8; ++bit) {
    Bytes changed = *signature;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(is_signed_renewal(here.server.get(), der(agent_), request_, changed)) << bit;
  }
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST_F(RenewalSignature, is_what_the_specification_says) {
  const Connection connection;
  const auto signature = sign_renewal(connection.client.get(), key(agent_), request_);
  std::string text("culvert-renew-1\0", 16);
  unsigned char exported[32];
  const std::string label = "EXPORTER-culvert-renew";
  ASSERT_EQ(
      SSL_export_keying_material(connection.server.get(), exported, 32, label.data(), label.size(), nullptr, 0, 0), 1);
  text.append(reinterpret_cast<const char*>(exported), 32);
  text += as_text(request_);
  const CertificateDirectory directory;
  const std::string certificate = directory.write("agent.crt", agent_.certificate_pem()).string();
  const std::string folder = directory.write("text", text).parent_path().string();
  directory.write("signature", as_text(*signature));
  ASSERT_EQ(openssl_command("x509 -pubkey -noout -in " + certificate + " -out " + folder + "/public").status, 0);
  const CommandResult judged = openssl_command("dgst -sha256 -verify " + folder + "/public -signature " + folder +
                                               "/signature " + folder + "/text");
  EXPECT_EQ(judged.output, "Verified OK\n");
}

TEST_F(RenewalSignature, works_with_an_rsa_key) {
  const Connection connection;
  CertificateRequest wanted = agent_request();
  wanted.key = testing::KeyKind::rsa_2048;
  const Credential agent = issue(authority_, wanted);
  const auto signature = sign_renewal(connection.client.get(), key(agent), request_);
  ASSERT_TRUE(signature);
  EXPECT_TRUE(is_signed_renewal(connection.server.get(), der(agent), request_, *signature));
}

TEST_F(RenewalSignature, is_not_made_where_connections_cannot_be_told_apart) {
  const Connection old(TLS1_2_VERSION);
  EXPECT_EQ(sign_renewal(old.client.get(), key(agent_), request_).error().code, "tls.failed");
  const Connection connection;
  EXPECT_EQ(sign_renewal(connection.client.get(), Secret({}), request_).error().code, "tls.not_pem");
}

}  // namespace
}  // namespace culvert
