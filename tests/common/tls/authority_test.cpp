// SPDX-License-Identifier: Apache-2.0
#include "common/tls/authority.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>
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
using namespace std::chrono_literals;

using Bytes = std::vector<std::byte>;

const std::string identity = "spiffe://test.example/account/acme/agent/one";

std::chrono::sys_seconds now() {
  return std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
}

Bytes der(const Credential& credential) {
  unsigned char* encoded = nullptr;
  Bytes bytes(static_cast<std::size_t>(i2d_X509(credential.certificate.get(), &encoded)));
  std::memcpy(bytes.data(), encoded, bytes.size());
  OPENSSL_free(encoded);
  return bytes;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

class AuthorityTest : public ::testing::Test {
 protected:
  Result<Authority> load(const Credential& credential, const std::string& more = {}) const {
    return Authority::load(directory_.write("authority.crt", credential.certificate_pem() + more),
                           directory_.write("authority.key", credential.key_pem()));
  }
  std::string load_error(const Credential& credential) const {
    const Result<Authority> loaded = load(credential);
    EXPECT_EQ(ERR_peek_error(), 0u);
    return loaded ? "ok" : loaded.error().code + ": " + loaded.error().text;
  }

  static Credential intermediate_of(const Credential& issuer, const std::string& name = "agents CA") {
    return issue(issuer, {.common_name = name, .is_authority = true});
  }

  /// An authority that `openssl` has made, with a self-signed certificate.
  Result<Authority> made_by_openssl(const std::string& key) const {
    const std::string folder = directory_.write("unused", "").parent_path().string();
    const CommandResult made =
        openssl_command("req -x509 -newkey " + key + " -nodes -keyout " + folder + "/root.key -out " + folder +
                        "/root.crt -days 300 -subj /CN=agents -addext keyUsage=critical,keyCertSign,cRLSign");
    EXPECT_EQ(made.status, 0) << made.output;
    return Authority::load(folder + "/root.crt", folder + "/root.key");
  }

  /// What `openssl` says of the leaf below that root.
  CommandResult judge(const SignedCertificate& made) const {
    const std::string leaf = directory_.write("leaf.pem", to_pem(made.chain).value()).string();
    const std::string folder = directory_.write("unused", "").parent_path().string();
    CommandResult judged =
        openssl_command("verify -x509_strict -purpose sslclient -CAfile " + folder + "/root.crt " + leaf);
    judged.output += openssl_command("x509 -noout -text -in " + leaf).output;
    return judged;
  }

  CertificateDirectory directory_;
  Credential root_ = make_authority("root CA");
  Bytes request_ = make_key_and_request(culvert::KeyKind::p256, identity)->request;
};

TEST_F(AuthorityTest, signs_with_every_kind_of_key_what_openssl_accepts_strictly) {
  const Bytes of_rsa = make_key_and_request(culvert::KeyKind::rsa3072, identity)->request;
  for (const auto& [key, signature] :
       {std::pair("ec -pkeyopt ec_paramgen_curve:P-256", "ecdsa-with-SHA256"),
        std::pair("ec -pkeyopt ec_paramgen_curve:P-384", "ecdsa-with-SHA384"),
        std::pair("rsa:3072", "sha256WithRSAEncryption"), std::pair("ed25519", "ED25519")}) {
    const Result<Authority> authority = made_by_openssl(key);
    ASSERT_TRUE(authority) << authority.error().text;
    for (const Bytes& request : {request_, of_rsa}) {
      const Result<SignedCertificate> made = authority->sign(request, identity, 24h, now());
      ASSERT_TRUE(made) << made.error().text;
      EXPECT_EQ(ERR_peek_error(), 0u);
      const CommandResult judged = judge(*made);
      EXPECT_EQ(judged.status, 0) << judged.output;
      EXPECT_TRUE(contains(judged.output, std::string("Signature Algorithm: ") + signature + "\n")) << judged.output;
      EXPECT_EQ(key_pins(made->chain)->front(), *check_request(request, identity));
    }
  }
}

TEST_F(AuthorityTest, puts_into_the_certificate_what_an_agent_needs_and_nothing_else) {
  const Result<SignedCertificate> made = made_by_openssl("ed25519")->sign(request_, identity, 24h, now());
  const std::string text = judge(*made).output;
  EXPECT_TRUE(contains(text, "Version: 3 (0x2)")) << text;
  EXPECT_TRUE(contains(text, "Subject: CN = one\n"));
  EXPECT_TRUE(contains(text, "X509v3 Basic Constraints: critical\n                CA:FALSE\n"));
  EXPECT_TRUE(contains(text, "X509v3 Key Usage: critical\n                Digital Signature\n"));
  EXPECT_TRUE(contains(text, "X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n"));
  EXPECT_TRUE(contains(text, "X509v3 Subject Alternative Name: \n                URI:" + identity + "\n"));
  EXPECT_TRUE(contains(text, "X509v3 Subject Key Identifier: \n"));
  EXPECT_TRUE(contains(text, "X509v3 Authority Key Identifier: \n"));
  int extensions = 0;
  for (std::size_t at = text.find("X509v3 "); at != text.npos; at = text.find("X509v3 ", at + 1)) ++extensions;
  EXPECT_EQ(extensions, 1 + 6) << text;  // The first is the heading.
}

TEST_F(AuthorityTest, takes_only_the_key_of_a_request) {
  const std::string folder = directory_.write("unused", "").parent_path().string();
  const CommandResult asked = openssl_command(
      "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout " + folder + "/k -outform DER -out " +
      folder + "/r -subj /CN=root -addext basicConstraints=CA:TRUE -addext extendedKeyUsage=serverAuth" +
      " -addext subjectAltName=URI:" + identity);
  ASSERT_EQ(asked.status, 0) << asked.output;
  std::ifstream file(folder + "/r", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  Bytes request(text.size());
  std::memcpy(request.data(), text.data(), text.size());
  ASSERT_TRUE(check_request(request, identity));
  const std::string made = judge(*made_by_openssl("ed25519")->sign(request, identity, 24h, now())).output;
  EXPECT_TRUE(contains(made, "Subject: CN = one\n")) << made;
  EXPECT_FALSE(contains(made, "CA:TRUE"));
  EXPECT_FALSE(contains(made, "TLS Web Server Authentication"));
}

TEST_F(AuthorityTest, says_what_it_has_signed) {
  const std::chrono::sys_seconds time = now();
  const Credential agents = intermediate_of(root_);
  const Result<SignedCertificate> made = load(agents)->sign(request_, identity, 10min, time);
  const CertificateFacts facts = facts_of(made->chain).value();
  EXPECT_EQ(facts.serial, made->serial);
  EXPECT_EQ(facts.not_before, made->not_before);
  EXPECT_EQ(facts.not_after, made->not_after);
  EXPECT_EQ(facts.names, "URI:" + identity);
  EXPECT_EQ(made->not_before, time - 5min);
  EXPECT_EQ(made->not_after, time + 10min);
}

TEST_F(AuthorityTest, keeps_within_its_own_time) {
  const std::chrono::sys_seconds time = now();
  const Credential agents =
      issue(root_, {.common_name = "young", .is_authority = true, .valid_from = -1min, .valid_to = 30min});
  const Result<Authority> authority = load(agents);
  const Result<SignedCertificate> made = authority->sign(request_, identity, 24h, time);
  EXPECT_EQ(made->not_before, authority->facts().not_before);
  EXPECT_EQ(made->not_after, authority->facts().not_after);
}

TEST_F(AuthorityTest, signs_nothing_once_it_has_ended) {
  const Result<Authority> authority = load(intermediate_of(root_));
  const std::chrono::sys_seconds end = authority->facts().not_after;
  EXPECT_TRUE(authority->sign(request_, identity, 24h, end - 1s));
  const Result<SignedCertificate> late = authority->sign(request_, identity, 24h, end);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, "tls.certificate_expired");
  EXPECT_TRUE(contains(late.error().text, "/authority.crt: the authority's certificate expired on "))
      << late.error().text;
}

TEST_F(AuthorityTest, never_gives_a_serial_twice) {
  const Result<Authority> authority = load(root_);
  std::set<std::string> serials;
  std::size_t longest = 0;
  for (int i = 0; i < 100; ++i) {
    const auto made = authority->sign(request_, identity, 1h, now());
    serials.insert(made->serial);
    longest = std::max(longest, made->serial.size());
    const unsigned char* at = reinterpret_cast<const unsigned char*>(made->chain.data());
    X509* const certificate = d2i_X509(nullptr, &at, static_cast<long>(made->chain.size()));
    EXPECT_EQ(ASN1_STRING_type(X509_get0_serialNumber(certificate)), V_ASN1_INTEGER) << "it is negative";
    X509_free(certificate);
  }
  EXPECT_EQ(serials.size(), 100u);
  EXPECT_EQ(longest, 32u);
}

TEST_F(AuthorityTest, cuts_a_long_name_in_the_subject_only) {
  const std::string name(100, 'n');
  const auto made = load(root_)->sign(request_, "spiffe://test.example/account/acme/agent/" + name, 1h, now());
  ASSERT_TRUE(made);
  EXPECT_EQ(facts_of(made->chain)->subject, "CN=" + name.substr(0, 64));
  EXPECT_TRUE(facts_of(made->chain)->names.ends_with(name));
}

TEST_F(AuthorityTest, sends_the_intermediates_but_not_the_root) {
  EXPECT_EQ(key_pins(load(root_)->sign(request_, identity, 1h, now())->chain)->size(), 1u);

  const Credential upper = intermediate_of(root_, "upper CA");
  const Credential agents = intermediate_of(upper);
  const auto pins = [&](const std::string& more) {
    return key_pins(load(agents, more)->sign(request_, identity, 1h, now())->chain).value();
  };
  const Sha256 own = key_pins(der(agents))->front();
  const Sha256 above = key_pins(der(upper))->front();
  // agents.certificate_pem() has the intermediate above it.
  EXPECT_EQ(pins("").size(), 3u);
  const std::vector<Sha256> all = pins(root_.certificate_pem() + make_authority("another").certificate_pem());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1], own);
  EXPECT_EQ(all[2], above);
}

TEST_F(AuthorityTest, with_an_intermediate_gives_a_chain_that_openssl_accepts) {
  const Credential agents = intermediate_of(root_);
  const auto made = load(agents)->sign(request_, identity, 1h, now());
  const std::string chain = directory_.write("chain.pem", to_pem(made->chain).value()).string();
  const std::string root = directory_.write("root.pem", root_.certificate_pem()).string();
  const CommandResult judged =
      openssl_command("verify -purpose sslclient -CAfile " + root + " -untrusted " + chain + " " + chain);
  EXPECT_EQ(judged.status, 0) << judged.output;
}

TEST_F(AuthorityTest, that_is_none_is_not_loaded) {
  const std::string server = load_error(issue(root_, server_request()));
  EXPECT_TRUE(server.starts_with("tls.not_an_authority: ")) << server;
  EXPECT_TRUE(contains(server,
                       "/authority.crt: \"CN=test server\" is the certificate of a server, not of an authority; "
                       "was authority_certificate swapped with the server's own certificate?"))
      << server;
  const std::string agent = load_error(issue(root_, agent_request()));
  EXPECT_TRUE(agent.starts_with("tls.not_an_authority: ")) << agent;
  EXPECT_TRUE(contains(agent, "/authority.crt: \"CN=test agent\" is not an authority's certificate")) << agent;
}

TEST_F(AuthorityTest, that_may_not_sign_is_not_loaded) {
  const std::string folder = directory_.write("unused", "").parent_path().string();
  const CommandResult made =
      openssl_command("req -x509 -newkey ed25519 -nodes -keyout " + folder + "/k -out " + folder +
                      "/c -subj /CN=agents -addext keyUsage=critical,digitalSignature,cRLSign");
  ASSERT_EQ(made.status, 0) << made.output;
  const auto loaded = Authority::load(folder + "/c", folder + "/k");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, "tls.not_an_authority");
  EXPECT_TRUE(contains(loaded.error().text, "lacks keyCertSign")) << loaded.error().text;
}

TEST_F(AuthorityTest, that_is_weak_or_out_of_its_time_is_not_loaded) {
  const auto code = [&](CertificateRequest request) {
    request.is_authority = true;
    const std::string error = load_error(issue(root_, request));
    return error.substr(0, error.find(':'));
  };
  EXPECT_EQ(code({}), "ok");
  EXPECT_EQ(code({.key = testing::KeyKind::rsa_1024}), "tls.weak_certificate");
  EXPECT_EQ(code({.hash = SignatureHash::sha1}), "tls.weak_certificate");
  EXPECT_EQ(code({.valid_to = -1min}), "tls.certificate_expired");
  EXPECT_EQ(code({.valid_from = 10min}), "tls.certificate_not_yet_valid");
  EXPECT_EQ(code({.padding_bytes = 21'000}), "tls.certificate_too_large");
}

TEST_F(AuthorityTest, needs_files_that_belong_together) {
  const auto certificate = directory_.write("a.crt", root_.certificate_pem());
  const auto key = directory_.write("a.key", root_.key_pem());
  const auto code = [](const Result<Authority>& loaded) { return loaded ? "ok" : loaded.error().code; };
  EXPECT_EQ(code(Authority::load(certificate, key)), "ok");
  EXPECT_EQ(code(Authority::load("/nowhere", key)), "tls.file_unreadable");
  EXPECT_EQ(code(Authority::load(certificate, "/nowhere")), "tls.file_unreadable");
  EXPECT_EQ(code(Authority::load(key, certificate)), "tls.not_pem");
  EXPECT_EQ(code(Authority::load(certificate, directory_.write("b.key", make_authority().key_pem()))),
            "tls.key_mismatch");
  EXPECT_EQ(code(Authority::load(certificate, directory_.write("c.key", root_.key_pem("secret")))),
            "tls.key_encrypted");
}

TEST_F(AuthorityTest, does_not_sign_what_is_not_a_request) {
  EXPECT_EQ(load(root_)->sign(Bytes(100), identity, 1h, now()).error().code, "tls.failed");
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST_F(AuthorityTest, certificates_go_to_a_file_and_back) {
  const Credential other = make_authority("other CA");
  Bytes both = der(root_);
  const Bytes second = der(other);
  both.insert(both.end(), second.begin(), second.end());
  const Result<std::string> pem = to_pem(both);
  ASSERT_TRUE(pem);
  EXPECT_EQ(*pem, root_.certificate_pem() + other.certificate_pem());
  EXPECT_EQ(read_certificates(directory_.write("both.pem", *pem)).value(), both);
  EXPECT_EQ(key_pins(both)->size(), 2u);
  EXPECT_EQ(facts_of(both)->subject, "CN=root CA");

  const Credential agent = issue(root_, agent_request());
  EXPECT_EQ(read_certificates(directory_.write("agent.pem", agent.certificate_pem())).error().code,
            "tls.ca_not_an_authority");
  EXPECT_EQ(read_certificates(directory_.write("empty.pem", "")).error().code, "tls.ca_empty");
}

TEST_F(AuthorityTest, bytes_that_are_no_certificates_are_refused) {
  Bytes trailing = der(root_);
  trailing.push_back(std::byte{0});
  Bytes cut = der(root_);
  cut.pop_back();
  for (const Bytes& bad : {Bytes{}, Bytes(10), trailing, cut}) {
    EXPECT_EQ(to_pem(bad).error().code, "tls.not_der");
    EXPECT_EQ(key_pins(bad).error().code, "tls.not_der");
    EXPECT_EQ(facts_of(bad).error().code, "tls.not_der");
  }
}

/// The server's end of a connection with an agent that it has verified.
UniqueSsl verified(const Credential& agent, const std::vector<Credential>& trusted) {
  const RawContext context = careless_server(issue(make_authority(), server_request()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  for (const Credential& each : trusted)
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), each.certificate.get());
  X509_STORE_set_flags(SSL_CTX_get_cert_store(context.get()), X509_V_FLAG_PARTIAL_CHAIN);
  UniqueSsl server = accepting(context);
  const UniqueSsl client = dialling(careless_client(agent));
  EXPECT_EQ(shake_hands(client.get(), server.get()).server_code(), "ok");
  return server;
}

TEST_F(AuthorityTest, that_has_signed_a_peer_is_known_by_its_pin) {
  const Credential agents = intermediate_of(root_);
  const Credential agent = issue(agents, agent_request());
  EXPECT_EQ(issuer_pin(verified(agent, {root_}).get()), key_pins(der(agents))->front());
  EXPECT_EQ(issuer_pin(verified(agent, {agents}).get()), key_pins(der(agents))->front());
  const Credential anchor = issue(root_, agent_request());
  EXPECT_EQ(issuer_pin(verified(anchor, {anchor}).get()), Sha256{});
  EXPECT_EQ(issuer_pin(accepting(careless_server(agent)).get()), Sha256{});
}

}  // namespace
}  // namespace culvert
