// SPDX-License-Identifier: Apache-2.0
#include "common/tls/tls_context.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "common/tls/peer_identity.hpp"
#include "tests/testing/tls_handshake.hpp"

namespace culvert {
namespace {

using namespace testing;

/// A CA, with a valid server and a valid agent.
class TlsContextTest : public ::testing::Test {
 protected:
  TlsContext server() const { return *TlsContext::for_server(directory_.write("server", good_server_, authority_)); }
  TlsContext agent() const { return *TlsContext::for_agent(directory_.write("agent", good_agent_, authority_)); }

  static UniqueSsl dialled(const TlsContext& context, const std::string& name = "tunnel.example") {
    UniqueSsl ssl = context.make_ssl();
    EXPECT_TRUE(set_expected_server_name(ssl.get(), name));
    return ssl;
  }

  /// Our server's result for an agent with that certificate.
  Outcome agent_shows(const Credential& credential) const {
    const UniqueSsl client = dialling(careless_client(credential));
    const UniqueSsl own = server().make_ssl();
    return shake_hands(client.get(), own.get());
  }

  /// Our agent's result for a server with that certificate.
  Outcome server_shows(const Credential& credential, const std::string& name = "tunnel.example") const {
    const UniqueSsl own = dialled(agent(), name);
    const UniqueSsl peer = accepting(careless_server(credential));
    return shake_hands(own.get(), peer.get());
  }

  std::string load_code(const CredentialFiles& files) const {
    const Result<TlsContext> context = TlsContext::for_agent(files);
    return context ? "ok" : context.error().code;
  }

  BackendCredentials trusting(const Credential& anchor) const {
    BackendCredentials credentials;
    credentials.ca = directory_.write("backend-ca.crt", anchor.certificate_pem());
    return credentials;
  }

  CertificateDirectory directory_;
  Credential authority_ = make_authority();
  Credential good_server_ = issue(authority_, server_request());
  Credential good_agent_ = issue(authority_, agent_request());
};

TEST_F(TlsContextTest, joins_an_agent_and_a_server_that_are_what_they_say) {
  const UniqueSsl client = dialled(agent());
  const UniqueSsl acceptor = server().make_ssl();
  const Outcome outcome = shake_hands(client.get(), acceptor.get());

  EXPECT_EQ(outcome.client_code(), "ok");
  EXPECT_EQ(outcome.server_code(), "ok");
  EXPECT_EQ(SSL_version(client.get()), TLS1_3_VERSION);
  EXPECT_TRUE(check_tunnel_protocol(client.get()));
  const Result<AgentIdentity> identity = agent_identity(acceptor.get(), "test.example");
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->account, "acme");
}

TEST_F(TlsContextTest, outlives_its_copies_and_connections_outlive_it) {
  UniqueSsl client;
  UniqueSsl acceptor;
  {
    const TlsContext first = server();
    const TlsContext copy = first;
    acceptor = copy.make_ssl();
    client = dialled(agent());
  }
  EXPECT_EQ(shake_hands(client.get(), acceptor.get()).server_code(), "ok");
}

TEST_F(TlsContextTest, reports_the_facts_of_its_own_certificate) {
  const TlsContext context = agent();
  ASSERT_TRUE(context.own_certificate());
  EXPECT_EQ(context.own_certificate()->subject, "CN=test agent");
  EXPECT_EQ(context.own_certificate()->names, "URI:spiffe://test.example/account/acme/agent/one");
  EXPECT_EQ(context.own_certificate()->serial, certificate_serial(good_agent_.certificate.get()));
  EXPECT_GT(context.own_certificate()->not_after, std::chrono::system_clock::now() + std::chrono::minutes{58});
}

struct BadCertificate {
  const char* what;
  std::string code;   ///< Our side's error.
  const char* alert;  ///< The alert that the peer receives.
  Credential (*spoil)(const Credential& authority, CertificateRequest request);
};

Credential deep_chain(Credential issuer, const CertificateRequest& request, int depth) {
  for (int i = 0; i < depth; ++i)
    issuer = issue(issuer, {.common_name = "CA " + std::to_string(i), .is_authority = true});
  return issue(issuer, request);
}

const std::vector<BadCertificate>& bad_certificates() {
  static const std::vector<BadCertificate> all{
      {"wrong CA", "tls.unknown_ca", "unknown CA",
       [](const Credential&, CertificateRequest request) { return issue(make_authority("other CA"), request); }},
      {"wrong CA of the same name", "tls.unknown_ca", "",
       [](const Credential&, CertificateRequest request) { return issue(make_authority(), request); }},
      {"self-signed", "tls.unknown_ca", "unknown CA",
       [](const Credential&, CertificateRequest request) { return self_signed(request); }},
      {"intermediate left out", "tls.unknown_ca", "unknown CA",
       [](const Credential& authority, CertificateRequest request) {
         Credential made = deep_chain(authority, request, 1);
         made.intermediates.clear();
         return made;
       }},
      {"issuer is no CA", "tls.bad_certificate", "",
       [](const Credential& authority, CertificateRequest request) {
         const Credential leaf = issue(authority, request);
         request.common_name = "below a leaf";
         return issue(leaf, request);
       }},
      {"expired", "tls.certificate_expired", "certificate expired",
       [](const Credential& authority, CertificateRequest request) {
         request.valid_to = std::chrono::minutes{-1};
         return issue(authority, request);
       }},
      {"not valid for another 6 minutes", "tls.certificate_not_yet_valid", "bad certificate",
       [](const Credential& authority, CertificateRequest request) {
         request.valid_from = std::chrono::minutes{6};
         return issue(authority, request);
       }},
      {"purpose of neither", "tls.wrong_purpose", "unsupported certificate",
       [](const Credential& authority, CertificateRequest request) {
         request.purpose = "codeSigning";
         return issue(authority, request);
       }},
      {"purpose of the other side", "tls.wrong_purpose", "unsupported certificate",
       [](const Credential& authority, CertificateRequest request) {
         request.purpose = request.purpose == "clientAuth" ? "serverAuth" : "clientAuth";
         return issue(authority, request);
       }},
      {"no purpose", "tls.wrong_purpose", "unsupported certificate",
       [](const Credential& authority, CertificateRequest request) {
         request.purpose.clear();
         return issue(authority, request);
       }},
      {"any purpose", "tls.wrong_purpose", "unsupported certificate",
       [](const Credential& authority, CertificateRequest request) {
         request.purpose = "anyExtendedKeyUsage";
         return issue(authority, request);
       }},
      {"20-deep chain", "tls.chain_too_long", "",
       [](const Credential& authority, CertificateRequest request) { return deep_chain(authority, request, 20); }},
      {"one intermediate too many", "tls.chain_too_long", "",
       [](const Credential& authority, CertificateRequest request) { return deep_chain(authority, request, 5); }},
      {"RSA-1024", "tls.weak_certificate", "",
       [](const Credential& authority, CertificateRequest request) {
         request.key = KeyKind::rsa_1024;
         return issue(authority, request);
       }},
      {"SHA-1", "tls.weak_certificate", "",
       [](const Credential& authority, CertificateRequest request) {
         request.hash = SignatureHash::sha1;
         return issue(authority, request);
       }},
      {"64 KiB", "tls.certificate_too_large", "illegal parameter",
       [](const Credential& authority, CertificateRequest request) {
         request.padding_bytes = 64 << 10;
         return issue(authority, request);
       }},
      {"outside of its CA's name constraints", "tls.bad_certificate", "",
       [](const Credential& authority, CertificateRequest request) {
         const Credential narrow =
             issue(authority, {.common_name = "narrow CA",
                               .is_authority = true,
                               .constraints = "permitted;DNS:elsewhere.example,permitted;URI:elsewhere.example"});
         return issue(narrow, request);
       }},
  };
  return all;
}

TEST_F(TlsContextTest, server_refuses_every_bad_agent_certificate) {
  for (const BadCertificate& bad : bad_certificates()) {
    const Outcome outcome = agent_shows(bad.spoil(authority_, agent_request()));
    EXPECT_EQ(outcome.server_code(), bad.code) << bad.what;
    ASSERT_TRUE(outcome.client) << bad.what;
    EXPECT_EQ(outcome.client->code, "tls.peer_refused") << bad.what << ": " << outcome.client->text;
    EXPECT_NE(outcome.client->text.find(bad.alert), std::string::npos) << bad.what << ": " << outcome.client->text;
  }
}

TEST_F(TlsContextTest, agent_refuses_every_bad_server_certificate) {
  for (const BadCertificate& bad : bad_certificates()) {
    const Outcome outcome = server_shows(bad.spoil(authority_, server_request()));
    EXPECT_EQ(outcome.client_code(), bad.code) << bad.what;
    ASSERT_TRUE(outcome.server) << bad.what;
    EXPECT_EQ(outcome.server->code, "tls.peer_refused") << bad.what << ": " << outcome.server->text;
    EXPECT_NE(outcome.server->text.find(bad.alert), std::string::npos) << bad.what << ": " << outcome.server->text;
  }
}

TEST_F(TlsContextTest, both_sides_take_a_certificate_whose_time_begins_in_four_minutes) {
  CertificateRequest early_agent = agent_request();
  early_agent.valid_from = std::chrono::minutes{4};
  EXPECT_EQ(agent_shows(issue(authority_, early_agent)).server_code(), "ok");
  CertificateRequest early_server = server_request();
  early_server.valid_from = std::chrono::minutes{4};
  EXPECT_EQ(server_shows(issue(authority_, early_server)).client_code(), "ok");
}

TEST_F(TlsContextTest, leeway_excuses_nothing_else) {
  CertificateRequest request = agent_request();
  request.valid_from = std::chrono::minutes{4};
  EXPECT_EQ(agent_shows(issue(make_authority("other CA"), request)).server_code(), "tls.unknown_ca");
  request.purpose.clear();
  EXPECT_EQ(agent_shows(issue(authority_, request)).server_code(), "tls.wrong_purpose");
  request = agent_request();
  request.valid_from = std::chrono::minutes{4};
  request.valid_to = std::chrono::minutes{-1};
  EXPECT_EQ(agent_shows(issue(authority_, request)).server_code(), "tls.certificate_expired");
}

TEST_F(TlsContextTest, both_sides_take_four_intermediates_and_rsa_2048) {
  CertificateRequest request = agent_request();
  request.key = KeyKind::rsa_2048;
  EXPECT_EQ(agent_shows(deep_chain(authority_, request, 4)).server_code(), "ok");
  request = server_request();
  request.key = KeyKind::rsa_2048;
  EXPECT_EQ(server_shows(deep_chain(authority_, request, 4)).client_code(), "ok");
}

TEST_F(TlsContextTest, an_intermediate_may_be_the_trusted_authority_and_its_siblings_are_not) {
  const Credential agents_ca = issue(authority_, {.common_name = "agents CA", .is_authority = true});
  const Credential other_ca = issue(authority_, {.common_name = "other CA", .is_authority = true});
  CredentialFiles files = directory_.write("server", good_server_, authority_);
  Credential only_itself = agents_ca;
  only_itself.intermediates.clear();
  files.ca = directory_.write("agents-ca.crt", only_itself.certificate_pem());
  const TlsContext narrow = *TlsContext::for_server(files);

  const UniqueSsl member = dialling(careless_client(issue(agents_ca, agent_request())));
  const UniqueSsl acceptor = narrow.make_ssl();
  EXPECT_EQ(shake_hands(member.get(), acceptor.get()).server_code(), "ok");
  const UniqueSsl stranger = dialling(careless_client(issue(other_ca, agent_request())));
  const UniqueSsl another = narrow.make_ssl();
  EXPECT_EQ(shake_hands(stranger.get(), another.get()).server_code(), "tls.unknown_ca");
}

TEST_F(TlsContextTest, server_refuses_a_client_without_a_certificate) {
  const UniqueSsl client = dialling(careless_client());
  const UniqueSsl acceptor = server().make_ssl();
  const Outcome outcome = shake_hands(client.get(), acceptor.get());
  EXPECT_EQ(outcome.server_code(), "tls.no_client_certificate");
  EXPECT_EQ(outcome.client_code(), "tls.no_client_certificate");
}

TEST_F(TlsContextTest, agent_takes_only_the_name_that_it_asked_for) {
  EXPECT_EQ(server_shows(good_server_).client_code(), "ok");
  const Outcome other = server_shows(good_server_, "other.example");
  ASSERT_TRUE(other.client);
  EXPECT_EQ(other.client->code, "tls.wrong_name");
  EXPECT_NE(other.client->text.find("other.example"), std::string::npos);
  EXPECT_NE(other.client->text.find("DNS:tunnel.example"), std::string::npos);
  EXPECT_EQ(server_shows(good_server_, "127.0.0.1").client_code(), "tls.wrong_name");
  const Credential by_address = issue(authority_, server_request("IP:127.0.0.1"));
  EXPECT_EQ(server_shows(by_address, "127.0.0.1").client_code(), "ok");
  EXPECT_EQ(server_shows(by_address, "127.0.0.2").client_code(), "tls.wrong_name");
}

TEST_F(TlsContextTest, a_dialler_without_an_expected_name_refuses_every_server) {
  for (const TlsContext& context : {agent(), *TlsContext::for_backend(trusting(authority_))}) {
    const UniqueSsl own = context.make_ssl();
    const UniqueSsl peer = accepting(careless_server(good_server_));
    EXPECT_EQ(shake_hands(own.get(), peer.get()).client_code(), "tls.wrong_name");
  }
}

TEST_F(TlsContextTest, agent_does_not_take_a_name_from_the_subject) {
  CertificateRequest request = server_request();
  request.common_name = "tunnel.example";
  request.names.clear();
  EXPECT_EQ(server_shows(issue(authority_, request)).client_code(), "tls.wrong_name");
}

TEST_F(TlsContextTest, both_sides_refuse_tls_1_2) {
  const RawContext old_client = careless_client(good_agent_);
  SSL_CTX_set_max_proto_version(old_client.get(), TLS1_2_VERSION);
  const UniqueSsl client = dialling(old_client);
  const UniqueSsl acceptor = server().make_ssl();
  Outcome outcome = shake_hands(client.get(), acceptor.get());
  EXPECT_EQ(outcome.server_code(), "tls.protocol_version");
  EXPECT_EQ(outcome.client_code(), "tls.protocol_version");

  const RawContext old_server = careless_server(good_server_);
  SSL_CTX_set_max_proto_version(old_server.get(), TLS1_2_VERSION);
  const UniqueSsl own = dialled(agent());
  const UniqueSsl peer = accepting(old_server);
  outcome = shake_hands(own.get(), peer.get());
  EXPECT_EQ(outcome.client_code(), "tls.protocol_version");
}

TEST_F(TlsContextTest, server_names_the_version_to_an_old_client_without_alpn_too) {
  const RawContext old_client = careless_client(good_agent_);
  SSL_CTX_set_max_proto_version(old_client.get(), TLS1_2_VERSION);
  SSL_CTX_set_alpn_protos(old_client.get(), nullptr, 0);
  const UniqueSsl client = dialling(old_client);
  const UniqueSsl acceptor = server().make_ssl();
  EXPECT_EQ(shake_hands(client.get(), acceptor.get()).server_code(), "tls.protocol_version");
}

TEST_F(TlsContextTest, server_refuses_who_offers_no_protocol_or_another_one) {
  const RawContext context = careless_client(good_agent_);
  SSL_CTX_set_alpn_protos(context.get(), nullptr, 0);
  const UniqueSsl silent = dialling(context);
  const UniqueSsl first = server().make_ssl();
  Outcome outcome = shake_hands(silent.get(), first.get());
  EXPECT_EQ(outcome.server_code(), "tls.no_application_protocol");
  EXPECT_EQ(outcome.client_code(), "tls.no_application_protocol");

  constexpr std::array<unsigned char, 3> h2{2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), h2.data(), h2.size());
  const UniqueSsl other = dialling(context);
  const UniqueSsl second = server().make_ssl();
  outcome = shake_hands(other.get(), second.get());
  EXPECT_EQ(outcome.server_code(), "tls.no_application_protocol");
  EXPECT_EQ(outcome.client_code(), "tls.no_application_protocol");
}

TEST_F(TlsContextTest, agent_notices_a_server_that_agrees_on_no_protocol) {
  const RawContext context = careless_server(good_server_);
  SSL_CTX_set_alpn_select_cb(context.get(), nullptr, nullptr);
  const UniqueSsl own = dialled(agent());
  const UniqueSsl peer = accepting(context);
  ASSERT_EQ(shake_hands(own.get(), peer.get()).client_code(), "ok");
  const Result<void> checked = check_tunnel_protocol(own.get());
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, "tls.no_application_protocol");
}

/// The last ticket that the client received.
SSL_SESSION* kept_session =
    nullptr;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): OpenSSL's callback has no user data.
int keep_session(SSL* /*ssl*/, SSL_SESSION* session) {
  SSL_SESSION_free(kept_session);
  kept_session = session;
  return 1;
}
RawContext ticket_client(const Credential& own) {
  kept_session = nullptr;
  RawContext context = careless_client(own);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT);
  SSL_CTX_sess_set_new_cb(context.get(), &keep_session);
  return context;
}

TEST_F(TlsContextTest, server_issues_no_session_ticket) {
  const RawContext context = ticket_client(good_agent_);
  const UniqueSsl client = dialling(context);
  const UniqueSsl acceptor = server().make_ssl();
  ASSERT_EQ(shake_hands(client.get(), acceptor.get()).client_code(), "ok");
  EXPECT_EQ(kept_session, nullptr);
  EXPECT_EQ(SSL_SESSION_is_resumable(SSL_get_session(client.get())), 0);
}

TEST_F(TlsContextTest, server_answers_a_resumption_attempt_with_a_full_handshake) {
  // A ticket that the server could decrypt: another server issued it with the same keys.
  const UniqueSsl acceptor = server().make_ssl();
  std::array<unsigned char, 80> keys{1, 2, 3};
  const RawContext generous = careless_server(good_server_);
  ASSERT_EQ(SSL_CTX_set_tlsext_ticket_keys(generous.get(), keys.data(), keys.size()), 1);
  ASSERT_EQ(SSL_CTX_set_tlsext_ticket_keys(SSL_get_SSL_CTX(acceptor.get()), keys.data(), keys.size()), 1);
  const RawContext context = ticket_client(good_agent_);
  SSL_CTX_set_ciphersuites(
      context.get(), "TLS_AES_128_GCM_SHA256");  // The same hash as the ticket's, which could not be used otherwise.
  const UniqueSsl first = dialling(context);
  const UniqueSsl issuer = accepting(generous);
  ASSERT_EQ(shake_hands(first.get(), issuer.get()).client_code(), "ok");
  ASSERT_NE(kept_session, nullptr);

  const UniqueSsl elsewhere = dialling(context);
  const UniqueSsl same_issuer = accepting(generous);
  SSL_set_session(elsewhere.get(), kept_session);
  ASSERT_EQ(shake_hands(elsewhere.get(), same_issuer.get()).client_code(), "ok");
  ASSERT_EQ(SSL_session_reused(same_issuer.get()), 1) << "the ticket is good";

  const UniqueSsl again = dialling(context);
  SSL_set_session(again.get(), kept_session);
  EXPECT_EQ(shake_hands(again.get(), acceptor.get()).server_code(), "ok");
  EXPECT_EQ(SSL_session_reused(again.get()), 0);
  EXPECT_EQ(SSL_session_reused(acceptor.get()), 0);
  EXPECT_NE(SSL_get0_peer_certificate(acceptor.get()), nullptr);
  SSL_SESSION_free(kept_session);
}

TEST_F(TlsContextTest, cipher_is_aes_128_or_what_an_agent_without_aes_prefers) {
  const UniqueSsl client = dialled(agent());
  const UniqueSsl acceptor = server().make_ssl();
  ASSERT_EQ(shake_hands(client.get(), acceptor.get()).client_code(), "ok");
  const std::string chosen = SSL_CIPHER_get_name(SSL_get_current_cipher(client.get()));
  EXPECT_TRUE(chosen == "TLS_AES_128_GCM_SHA256" || chosen == "TLS_CHACHA20_POLY1305_SHA256") << chosen;

  const RawContext weak_cpu = careless_client(good_agent_);
  SSL_CTX_set_ciphersuites(weak_cpu.get(), "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256");
  const UniqueSsl small = dialling(weak_cpu);
  const UniqueSsl another = server().make_ssl();
  ASSERT_EQ(shake_hands(small.get(), another.get()).client_code(), "ok");
  EXPECT_STREQ(SSL_CIPHER_get_name(SSL_get_current_cipher(small.get())), "TLS_CHACHA20_POLY1305_SHA256");
}

TEST_F(TlsContextTest, loading_errors_name_the_file_and_have_their_codes) {
  const CredentialFiles good = directory_.write("agent", good_agent_, authority_);
  EXPECT_EQ(load_code(good), "ok");

  CredentialFiles files = good;
  files.certificate = "/nowhere/agent.crt";
  const Result<TlsContext> missing = TlsContext::for_agent(files);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, "tls.file_unreadable");
  EXPECT_EQ(missing.error().text, "/nowhere/agent.crt: cannot read the certificate: No such file or directory");

  files.certificate = good.private_key;
  EXPECT_EQ(load_code(files), "tls.not_pem");
  files.certificate = directory_.write("damaged.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  EXPECT_EQ(load_code(files), "tls.not_pem");
  files.certificate = directory_.write("huge.crt", std::string((1 << 20) + 1, '\n'));
  EXPECT_EQ(load_code(files), "tls.not_pem");

  files = good;
  files.private_key = directory_.write("other.key", issue(authority_, agent_request()).key_pem());
  EXPECT_EQ(load_code(files), "tls.key_mismatch");
  files.private_key = good.certificate;
  EXPECT_EQ(load_code(files), "tls.not_pem");

  files = good;
  files.ca = directory_.write("empty.crt", "");
  EXPECT_EQ(load_code(files), "tls.ca_empty");
  files.ca = good.certificate;
  EXPECT_EQ(load_code(files), "tls.ca_not_an_authority");
}

TEST_F(TlsContextTest, loading_refuses_a_certificate_that_no_peer_would_take) {
  const auto code_of = [&](CertificateRequest request) {
    return load_code(directory_.write("bad", issue(authority_, request), authority_));
  };
  CertificateRequest request = agent_request();
  request.valid_to = std::chrono::minutes{-1};
  EXPECT_EQ(code_of(request), "tls.certificate_expired");
  request = agent_request();
  request.valid_from = std::chrono::minutes{6};
  EXPECT_EQ(code_of(request), "tls.certificate_not_yet_valid");
  request = agent_request();
  request.key = KeyKind::rsa_1024;
  EXPECT_EQ(code_of(request), "tls.weak_certificate");
  EXPECT_EQ(code_of(server_request()), "tls.wrong_purpose");
  request = agent_request();
  request.purpose.clear();
  EXPECT_EQ(code_of(request), "tls.wrong_purpose");
}

TEST_F(TlsContextTest, loading_refuses_an_encrypted_key_without_asking_for_its_pass_phrase) {
  CredentialFiles files = directory_.write("agent", good_agent_, authority_);
  files.private_key = directory_.write("encrypted.key", good_agent_.key_pem("secret"));
  EXPECT_EQ(load_code(files), "tls.key_encrypted");
}

TEST_F(TlsContextTest, a_ca_file_may_hold_an_expired_authority_next_to_a_valid_one_but_not_alone) {
  const Credential old =
      self_signed({.common_name = "old CA", .is_authority = true, .valid_to = std::chrono::minutes{-1}});
  CredentialFiles files = directory_.write("agent", good_agent_, authority_);
  files.ca = directory_.write("both.crt", old.certificate_pem() + authority_.certificate_pem());
  EXPECT_EQ(load_code(files), "ok");
  files.ca = directory_.write("old.crt", old.certificate_pem());
  EXPECT_EQ(load_code(files), "tls.certificate_expired");
}

TEST_F(TlsContextTest, backend_connection_verifies_name_and_authority_and_needs_no_alpn) {
  const TlsContext context = *TlsContext::for_backend(trusting(authority_));
  EXPECT_FALSE(context.own_certificate());
  const auto code_for = [&](const Credential& credential, const std::string& name) {
    const RawContext backend = careless_server(credential);
    SSL_CTX_set_max_proto_version(backend.get(), TLS1_2_VERSION);
    const UniqueSsl own = dialled(context, name);
    const UniqueSsl peer = accepting(backend);
    return shake_hands(own.get(), peer.get()).client_code();
  };
  EXPECT_EQ(code_for(good_server_, "tunnel.example"), "ok");
  EXPECT_EQ(code_for(good_server_, "other.example"), "tls.wrong_name");
  EXPECT_EQ(code_for(issue(make_authority("other CA"), server_request()), "tunnel.example"), "tls.unknown_ca");
  CertificateRequest plain = server_request();
  plain.purpose.clear();  // Self-made certificates of back ends often have none.
  EXPECT_EQ(code_for(issue(authority_, plain), "tunnel.example"), "ok");
}

TEST_F(TlsContextTest, backend_connection_refuses_tls_1_1) {
  const TlsContext context = *TlsContext::for_backend(trusting(authority_));
  const RawContext old = careless_server(good_server_);
  SSL_CTX_set_min_proto_version(old.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(old.get(), TLS1_1_VERSION);
  const UniqueSsl own = dialled(context);
  const UniqueSsl peer = accepting(old);
  EXPECT_EQ(shake_hands(own.get(), peer.get()).client_code(), "tls.protocol_version");
}

TEST_F(TlsContextTest, backend_that_signed_its_own_certificate_can_be_trusted_by_that) {
  const Credential backend = self_signed(server_request());
  const TlsContext context = *TlsContext::for_backend(trusting(backend));
  const UniqueSsl own = dialled(context);
  const UniqueSsl peer = accepting(careless_server(backend));
  EXPECT_EQ(shake_hands(own.get(), peer.get()).client_code(), "ok");
}

TEST_F(TlsContextTest, backend_connection_shows_its_client_certificate) {
  const CredentialFiles files = directory_.write("client", good_agent_, authority_);
  const TlsContext context = *TlsContext::for_backend(
      {.ca = files.ca, .client_certificate = files.certificate, .client_key = files.private_key});
  const RawContext backend = careless_server(good_server_);
  SSL_CTX_set_verify(backend.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  const UniqueSsl own = dialled(context);
  const UniqueSsl peer = accepting(backend);
  ASSERT_EQ(shake_hands(own.get(), peer.get()).client_code(), "ok");
  EXPECT_NE(SSL_get0_peer_certificate(peer.get()), nullptr);
}

TEST_F(TlsContextTest, backend_connection_without_a_ca_file_uses_the_systems_store) {
  const Result<TlsContext> context = TlsContext::for_backend({});
  ASSERT_TRUE(context) << context.error().text;
  const UniqueSsl own = dialled(*context);
  const UniqueSsl peer = accepting(careless_server(good_server_));
  EXPECT_EQ(shake_hands(own.get(), peer.get()).client_code(), "tls.unknown_ca");
}

}  // namespace
}  // namespace culvert
