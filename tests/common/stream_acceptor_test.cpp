// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/stream_acceptor.hpp"

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

TEST(StreamAcceptor, resets_the_client_where_the_target_refuses) {
  TunnelPair pair;
  const testing::ClosedPort closed;
  pair.target.endpoint.port = closed.port();
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(StreamAcceptor, refuses_a_name_that_leads_to_this_host) {
  TunnelPair pair;
  // No literal of ours, but getaddrinfo() makes 127.0.0.1 of it, without a network. Somebody would answer there.
  pair.target.endpoint.host = "127.1";
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
  EXPECT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 0; }));
}

TEST(StreamAcceptor, dials_loopback_where_the_configuration_names_it) {
  TunnelPair pair;
  pair.target.endpoint.host = "localhost";
  const auto joined = pair.join();
  testing::send_all(joined.client.get(), "x");
  EXPECT_EQ(testing::receive(joined.target.get(), 1), "x");
}

TEST(StreamAcceptor, has_dials_max_under_way_and_not_one_more) {
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

TEST(StreamAcceptor, has_streams_max_of_a_link_and_not_one_more) {
  TunnelPair pair({.limits = {2, 256}});
  const auto first = pair.join();
  auto second = pair.join();
  const auto third = pair.connect();
  EXPECT_EQ(testing::receive_to_end(third.get()).end, End::reset);
  testing::reset(second.client);
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.ends() == 1; }));
  (void)pair.join();
}

TEST(StreamAcceptor, closes_a_connection_that_comes_after_the_opener_has_left) {
  TunnelPair pair;
  pair.target.endpoint.host = "localhost";  // A name's dial runs on; a literal's ends with its stream.
  // The backlog is full, so that the dial waits; the kernel tries again after a second.
  const UniqueFd slow = testing::bound_socket(testing::loopback(), 0);
  const auto remote = local_endpoint_of(slow.get());
  std::vector<UniqueFd> fill;
  for (int i = 0; i < 4; ++i) {
    fill.push_back(make_tcp_socket(AF_INET));
    (void)::connect(fill.back().get(), remote.data(), static_cast<socklen_t>(remote.size()));
  }
  pair.target.endpoint.port = remote.port();
  auto client = pair.connect();
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 1; }));
  testing::reset(client);
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.ends() == 0; }));
  fill.clear();
  std::vector<UniqueFd> in;
  ::fcntl(slow.get(), F_SETFL, O_NONBLOCK);
  EXPECT_TRUE(eventually(pair.server, [&](DataPlane& plane) {
    UniqueFd next(::accept4(slow.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (next) in.push_back(std::move(next));
    return plane.counters().dials.value() == 0;
  }));
  EXPECT_FALSE(in.empty());
  const auto resets = std::ranges::count_if(
      in, [](const UniqueFd& each) { return testing::receive_to_end(each.get()).end == End::reset; });
  EXPECT_EQ(resets, 1) << "the late one looks cut off, not empty; the fillers just end";
}

TEST(StreamAcceptor, ends_the_dial_of_a_literal_when_the_opener_leaves) {
  TunnelPair pair({.limits = {10'000, 1}});
  const testing::SilentPort silent(testing::loopback());
  const auto answering = pair.target.endpoint.port;
  pair.target.endpoint.port = silent.endpoint().port();
  auto client = pair.connect();
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 1; }));
  testing::reset(client);
  // Its place is free at once, not at the deadline of the dial.
  ASSERT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().dials.value() == 0; }));
  pair.target.endpoint.port = answering;
  (void)pair.join();
}

TEST(StreamAcceptor, ends_its_dials_when_it_stops) {
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

TEST(TlsBackEnd, a_key_update_does_not_hold_up_a_half_close) {
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

TEST(TlsBackEnd, one_with_a_wrong_name_is_not_spoken_to) {
  TunnelPair pair;
  TlsTarget target(pair);
  pair.target.tls->server_name = "other.example";
  const auto client = pair.connect();
  EXPECT_FALSE(target.accept());
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(TlsBackEnd, one_that_says_nothing_is_given_up_in_time) {
  TunnelPair pair;
  TlsTarget target(pair);
  pair.target.connect_time_max = 300ms;
  const auto client = pair.connect();
  const auto silent = pair.accept();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

}  // namespace
}  // namespace culvert
