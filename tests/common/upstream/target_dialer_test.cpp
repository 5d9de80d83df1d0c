// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/target_dialer.hpp"

#include <algorithm>
#include <future>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "tests/testing/sockets.hpp"
#include "tests/testing/tls_handshake.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

using namespace std::chrono_literals;
using testing::End;
using testing::eventually;
using testing::pattern;
using testing::TunnelPair;

TEST(TargetDialer, resets_the_client_if_the_target_refuses) {
  TunnelPair pair;
  const testing::ClosedPort closed;
  pair.target.endpoint.port = closed.port();
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(TargetDialer, refuses_a_name_that_resolves_to_this_host) {
  TunnelPair pair;
  // Not a literal for us, but getaddrinfo() turns it into 127.0.0.1 without a network; a server would answer there.
  pair.target.endpoint.host = "127.1";
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
  EXPECT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 0; }));
}

TEST(TargetDialer, dials_loopback_if_the_configuration_names_it) {
  TunnelPair pair;
  pair.target.endpoint.host = "localhost";
  const auto joined = pair.join();
  testing::send_all(joined.client.get(), "x");
  EXPECT_EQ(testing::receive(joined.target.get(), 1), "x");
}

TEST(TargetDialer, has_dials_max_in_progress_and_not_one_more) {
  TunnelPair pair({.limits = {10'000, 2}});
  const testing::SilentPort silent(testing::loopback());
  pair.target.endpoint.port = silent.endpoint().port();
  pair.target.connect_time_max = 700ms;
  const auto first = pair.connect();
  const auto second = pair.connect();
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 2; }));
  const auto third = pair.connect();
  EXPECT_EQ(testing::receive_to_end(third.get()).end, End::reset);
  testing::on(pair.server.plane(0), [](DataPlane& plane) { EXPECT_EQ(plane.counters().dials.value(), 2); });
  EXPECT_EQ(testing::receive_to_end(first.get()).end, End::reset);
  EXPECT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 0; }));
}

TEST(TargetDialer, has_streams_max_of_a_link_and_not_one_more) {
  TunnelPair pair({.limits = {2, 256}});
  const auto first = pair.join();
  auto second = pair.join();
  const auto third = pair.connect();
  EXPECT_EQ(testing::receive_to_end(third.get()).end, End::reset);
  testing::reset(second.client);
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.relays().size() == 1; }));
  (void)pair.join();
}

TEST(TargetDialer, has_the_peers_share_of_the_descriptors_and_not_one_more) {
  const auto descriptors = std::make_shared<FairQuota>(4);  // Of which a single holder gets three.
  TunnelPair pair({.descriptors = descriptors});
  auto first = pair.join();
  const auto second = pair.join();
  const auto third = pair.join();
  const auto fourth = pair.connect();
  EXPECT_EQ(testing::receive_to_end(fourth.get()).end, End::reset);
  EXPECT_TRUE(FairQuota::take(descriptors, "another"));
  testing::reset(first.client);
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.relays().size() == 2; }));
  (void)pair.join();
}

TEST(TargetDialer, has_connections_max_of_a_mapping_and_not_one_more) {
  TunnelPair pair;
  pair.target.connections = std::make_shared<Quota>();
  pair.target.connections_max = 1;
  auto first = pair.join();
  const auto second = pair.connect();
  EXPECT_EQ(testing::receive_to_end(second.get()).end, End::reset);
  testing::reset(first.client);
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.relays().size() == 0; }));
  (void)pair.join();
}

TEST(TargetDialer, a_mapping_that_is_withdrawn_ends_its_connections) {
  TunnelPair pair;
  pair.target.connections = std::make_shared<Quota>();
  pair.target.connections_max = 1;
  const auto joined = pair.join();
  pair.target.connections->withdraw();
  EXPECT_EQ(testing::receive_to_end(joined.client.get()).end, End::reset);
  EXPECT_EQ(testing::receive_to_end(joined.target.get()).end, End::reset);
}

TEST(TargetDialer, ends_the_dial_when_the_opener_leaves) {
  for (const char* host : {"127.0.0.1", "localhost"}) {
    TunnelPair pair({.limits = {10'000, 1}});
    pair.target.endpoint.host = host;
    pair.target.connect_time_max = 60s;
    const testing::SilentPort silent(testing::loopback());
    const auto answering = pair.target.endpoint.port;
    pair.target.endpoint.port = silent.endpoint().port();
    auto client = pair.connect();
    ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 1; })) << host;
    testing::reset(client);
    // Its permit is free at once, not at the deadline of the dial.
    ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 0; })) << host;
    pair.target.endpoint.port = answering;
    (void)pair.join();
  }
}

TEST(TargetDialer, ends_its_dials_when_it_stops) {
  auto pair = std::make_unique<TunnelPair>();
  const testing::SilentPort silent(testing::loopback());
  pair->target.endpoint.port = silent.endpoint().port();
  const auto client = pair->connect();
  ASSERT_TRUE(eventually(pair->server, [](DataPlane& plane) { return plane.counters().dials.value() == 1; }));
  pair.reset();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

// ---- tcps

/// A back end with TLS, driven by the test over a blocking socket.
class TlsTarget {
 public:
  explicit TlsTarget(TunnelPair& pair)
      : pair_(pair),
        context_(testing::careless_server(
            testing::issue(pair.authority(), testing::server_request("DNS:backend.example")))) {
    const auto ca = pair.files().write("backend-ca.crt", pair.authority().certificate_pem());
    auto tls = TlsContext::for_backend({.ca = ca, .client_certificate = {}, .client_key = {}});
    EXPECT_TRUE(tls);
    pair.target.tls = StreamTarget::Tls{*tls, "backend.example"};
  }
  bool accept() {
    fd = pair_.accept();
    ssl = testing::accepting(context_);
    SSL_set_fd(ssl.get(), fd.get());
    return SSL_do_handshake(ssl.get()) == 1;
  }
  std::string read(std::size_t size) {
    std::string bytes(size, '\0');
    std::size_t got = 0;
    while (got < size) {
      const int more = SSL_read(ssl.get(), bytes.data() + got, static_cast<int>(size - got));
      if (more <= 0) break;
      got += static_cast<std::size_t>(more);
    }
    bytes.resize(got);
    return bytes;
  }
  void write(const std::string& bytes) {
    EXPECT_EQ(SSL_write(ssl.get(), bytes.data(), static_cast<int>(bytes.size())), static_cast<int>(bytes.size()));
  }
  UniqueFd fd;
  UniqueSsl ssl;

 private:
  TunnelPair& pair_;
  testing::RawContext context_;
};

TEST(TlsBackEnd, carries_megabytes_and_a_clean_end_both_ways) {
  TunnelPair pair;
  TlsTarget target(pair);
  const auto client = pair.connect();
  ASSERT_TRUE(target.accept());
  const std::string up = pattern(3 << 20, 1);
  auto sends = std::async(std::launch::async, [&] {
    testing::send_all(client.get(), up);
    testing::half_close(client.get());
  });
  EXPECT_TRUE(target.read(up.size()) == up);
  char more = 0;
  const int end = SSL_read(target.ssl.get(), &more, 1);
  EXPECT_EQ(SSL_get_error(target.ssl.get(), end), SSL_ERROR_ZERO_RETURN) << "a FIN is a close_notify";
  const std::string down = pattern(3 << 20, 2);
  auto answers = std::async(std::launch::async, [&] {
    target.write(down);
    SSL_shutdown(target.ssl.get());
    target.fd.close();
  });
  const auto received = testing::receive_to_end(client.get());
  EXPECT_TRUE(received.bytes == down);
  EXPECT_EQ(received.end, End::clean);
}

TEST(TlsBackEnd, an_end_without_close_notify_is_a_reset) {
  TunnelPair pair;
  TlsTarget target(pair);
  const auto client = pair.connect();
  ASSERT_TRUE(target.accept());
  target.write("half of a body");
  EXPECT_EQ(testing::receive(client.get(), 14), "half of a body");
  target.fd.close();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(TlsBackEnd, bytes_that_come_with_the_handshake_are_not_lost) {
  TunnelPair pair;
  TlsTarget target(pair);
  const auto client = pair.connect();
  testing::send_all(client.get(), "early");
  ASSERT_TRUE(target.accept());
  target.write("banner");
  EXPECT_EQ(testing::receive(client.get(), 6), "banner");
  EXPECT_EQ(target.read(5), "early");
}

TEST(TlsBackEnd, a_key_update_does_not_delay_a_half_close) {
  TunnelPair pair;
  TlsTarget target(pair);
  const auto client = pair.connect();
  ASSERT_TRUE(target.accept());
  ASSERT_EQ(SSL_key_update(target.ssl.get(), SSL_KEY_UPDATE_REQUESTED), 1);
  target.write("new keys");
  EXPECT_EQ(testing::receive(client.get(), 8), "new keys");
  testing::half_close(client.get());
  timeval limit{5, 0};
  ::setsockopt(target.fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char more = 0;
  const int end = SSL_read(target.ssl.get(), &more, 1);
  EXPECT_EQ(SSL_get_error(target.ssl.get(), end), SSL_ERROR_ZERO_RETURN);
}

TEST(TlsBackEnd, one_with_a_wrong_name_gets_no_bytes) {
  TunnelPair pair;
  TlsTarget target(pair);
  pair.target.tls->server_name = "other.example";
  const auto client = pair.connect();
  EXPECT_FALSE(target.accept());
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(TlsBackEnd, the_handshake_ends_when_the_opener_leaves) {
  TunnelPair pair({.limits = {10'000, 1}});
  const TlsTarget target(pair);
  pair.target.connect_time_max = 60s;
  auto client = pair.connect();
  const auto silent = pair.accept();
  ASSERT_TRUE(silent);
  testing::reset(client);
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 0; }));
  EXPECT_NE(testing::receive_to_end(silent.get()).end, End::still_open) << "not only forgotten";
}

TEST(TlsBackEnd, one_that_sends_nothing_is_given_up_in_time) {
  TunnelPair pair;
  TlsTarget target(pair);
  pair.target.connect_time_max = 300ms;
  const auto client = pair.connect();
  const auto silent = pair.accept();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

}  // namespace
}  // namespace culvert
