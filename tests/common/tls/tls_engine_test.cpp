// SPDX-License-Identifier: Apache-2.0
#include "common/tls/tls_engine.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "common/tls/peer_identity.hpp"
#include "tests/testing/certificates.hpp"

namespace culvert {
namespace {

using Step = TlsEngine::Step;

/// Two engines, and the records of each for the other.
struct EnginePair : ::testing::Test {
  static UniqueSsl make(bool server) {
    static const testing::CertificateDirectory files;
    static const auto authority = testing::make_authority();
    static const auto server_tls =
        TlsContext::for_server(files.write("server", testing::issue(authority, testing::server_request()), authority));
    static const auto agent_tls =
        TlsContext::for_agent(files.write("agent", testing::issue(authority, testing::agent_request()), authority));
    UniqueSsl ssl = server ? server_tls->make_ssl() : agent_tls->make_ssl();
    if (!server) EXPECT_TRUE(set_expected_server_name(ssl.get(), "tunnel.example"));
    return ssl;
  }
  EnginePair() : server(make(true)), agent(make(false)) {
    server.set_output(from_server);
    agent.set_output(from_agent);
  }
  /// Delivers all records, in pieces of `piece_bytes`.
  void shake_hands(std::size_t piece_bytes) {
    Step agent_step = agent.handshake();
    Step server_step = Step::wants_input;
    for (int i = 0; i < 20'000 && (agent_step != Step::done || server_step != Step::done); ++i) {
      if (!from_agent.empty()) {
        const auto piece = from_agent.bytes().first(std::min(piece_bytes, from_agent.size()));
        server.feed(piece);
        server_step = server.handshake();
        from_agent.drop(piece.size() - server.unread().size());
      } else if (!from_server.empty()) {
        const auto piece = from_server.bytes().first(std::min(piece_bytes, from_server.size()));
        agent.feed(piece);
        agent_step = agent.handshake();
        from_server.drop(piece.size() - agent.unread().size());
      }
    }
    ASSERT_EQ(agent_step, Step::done);
    ASSERT_EQ(server_step, Step::done);
  }
  void feed_server() {
    fed.assign(from_agent.bytes().begin(), from_agent.bytes().end());
    from_agent.drop(fed.size());
    server.feed(fed);
  }
  static std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
  std::string read(std::size_t room_bytes) {
    std::vector<std::byte> room(room_bytes);
    last = server.read(room);
    return {reinterpret_cast<const char*>(room.data()), last.bytes};
  }

  SendBuffer from_server{0};
  SendBuffer from_agent{0};
  TlsEngine server;
  TlsEngine agent;
  std::vector<std::byte> fed;
  TlsEngine::Read last{};
};

using TlsEngineTest = EnginePair;

TEST_F(TlsEngineTest, shakes_hands_however_the_bytes_are_cut) {
  shake_hands(1);
}

TEST_F(TlsEngineTest, names_what_a_peer_speaks_instead_of_tls) {
  using namespace std::string_view_literals;
  const std::pair<std::string_view, std::string_view> to_server[] = {
      {"PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n\x16\x03\x01", "PROXY protocol, version 1"},
      {"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"sv, "PROXY protocol, version 2"},
      {"GET / HTTP/1.1\r\n\r\n", "plain HTTP"},
      {"OPTIONS * HTTP/1.0\r\n\r\n", "plain HTTP"},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "plain HTTP"},
      {"EHLO a\r\nX HTTP/1.1\r\n", "does not use TLS"}};
  for (const auto& [opening, words] : to_server) {
    TlsEngine engine(make(true));
    engine.set_output(from_server);
    EXPECT_EQ(engine.handshake(), Step::wants_input);
    engine.feed(bytes_of(opening));
    EXPECT_EQ(engine.handshake(), Step::failed);
    EXPECT_EQ(engine.error().code, "tls.not_tls");
    EXPECT_TRUE(engine.error().text.contains(words)) << engine.error().text;
  }
  EXPECT_EQ(agent.handshake(), Step::wants_input);
  agent.feed(bytes_of("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_EQ(agent.handshake(), Step::failed);
  EXPECT_TRUE(agent.error().text.contains("plain HTTP")) << agent.error().text;
}

TEST_F(TlsEngineTest, seals_and_opens_many_records_at_once) {
  shake_hands(100'000);
  const std::string text(200'000, 'x');
  ASSERT_TRUE(agent.write(bytes_of(text)));
  feed_server();
  EXPECT_EQ(read(256 << 10), text);
  EXPECT_EQ(last.step, Step::done);
  EXPECT_EQ(read(10), "");
  EXPECT_EQ(last.step, Step::wants_input);
}

TEST_F(TlsEngineTest, gives_the_rest_where_the_room_was_small) {
  shake_hands(100'000);
  ASSERT_TRUE(agent.write(bytes_of("abcdef")));
  feed_server();
  EXPECT_EQ(read(4), "abcd");
  EXPECT_EQ(read(4), "ef");
  EXPECT_EQ(read(4), "");
}

TEST_F(TlsEngineTest, reports_the_end_after_the_bytes_before_it) {
  shake_hands(100'000);
  ASSERT_TRUE(agent.write(bytes_of("last")));
  agent.shutdown();
  feed_server();
  EXPECT_EQ(read(100), "last");
  EXPECT_EQ(last.step, Step::done);
  EXPECT_EQ(read(100), "");
  EXPECT_EQ(last.step, Step::closed);
}

TEST_F(TlsEngineTest, reports_a_forged_record_after_the_bytes_before_it) {
  shake_hands(100'000);
  ASSERT_TRUE(agent.write(bytes_of("good")));
  const std::size_t good = from_agent.size();
  ASSERT_TRUE(agent.write(bytes_of("forged")));
  fed.assign(from_agent.bytes().begin(), from_agent.bytes().end());
  fed[good + 7] ^= std::byte{1};
  server.feed(fed);
  EXPECT_EQ(read(100), "good");
  EXPECT_EQ(read(100), "");
  EXPECT_EQ(last.step, Step::failed);
  EXPECT_FALSE(server.error().code.empty());
  EXPECT_EQ(read(100), "");
  EXPECT_EQ(last.step, Step::failed) << "after an error only errors follow";
}

TEST_F(TlsEngineTest, changes_keys_when_a_direction_has_carried_enough) {
  shake_hands(100'000);
  agent.set_key_update_bytes(1'000);
  const std::string text(999, 'x');
  ASSERT_TRUE(agent.write(bytes_of(text)));
  ASSERT_TRUE(agent.write(bytes_of("y")));
  EXPECT_EQ(agent.key_updates(), 0U);
  ASSERT_TRUE(agent.write(bytes_of("z")));
  EXPECT_EQ(agent.key_updates(), 1U);
  feed_server();
  EXPECT_EQ(read(2'000), text + "yz");
}

/// OpenSSL answers together with its next data (RFC 8446 4.6.3 requires no more).
TEST_F(TlsEngineTest, answers_a_key_update_with_its_next_write) {
  shake_hands(100'000);
  ASSERT_EQ(SSL_key_update(agent.native(), SSL_KEY_UPDATE_REQUESTED), 1);
  ASSERT_TRUE(agent.write(bytes_of("x")));
  feed_server();
  EXPECT_EQ(read(10), "x");
  ASSERT_TRUE(server.write(bytes_of("y")));
  constexpr std::size_t record_bytes = 5 + 1 + 16;  // Header, content type, tag.
  EXPECT_EQ(from_server.size(), (record_bytes + 5) + (record_bytes + 1));
}

}  // namespace
}  // namespace culvert
