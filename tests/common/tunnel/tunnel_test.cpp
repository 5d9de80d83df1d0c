// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/tunnel.hpp"

#include <future>

#include <gtest/gtest.h>

#include "common/net/monotonic_time.hpp"
#include "common/tunnel/relay.hpp"
#include "tests/testing/sockets.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

using protocol::Reason;
using testing::End;
using testing::eventually;
using testing::pattern;
using testing::TunnelPair;

Tunnel& only_tunnel(DataPlane& plane) {
  return *plane.tunnels().begin()->second;
}

TEST(Tunnel, changes_keys_while_data_flows_both_ways) {
  TunnelPair pair({.key_update_bytes = 20'000});
  const auto [client, target] = pair.join();
  const std::string up = pattern(4 << 20, 1);
  const std::string down = pattern(4 << 20, 2);
  auto sends_up = std::async(std::launch::async, [&] { testing::send_all(client.get(), up); });
  auto sends_down = std::async(std::launch::async, [&] { testing::send_all(target.get(), down); });
  auto received_up = std::async(std::launch::async, [&] { return testing::receive(target.get(), up.size()); });
  EXPECT_TRUE(testing::receive(client.get(), down.size()) == down);
  EXPECT_TRUE(received_up.get() == up);
  for (DataPlanes* planes : {&pair.agent, &pair.server}) {
    testing::on(planes->plane(0), [](DataPlane& plane) { EXPECT_GT(only_tunnel(plane).tls().key_updates(), 10U); });
  }
}

TEST(Tunnel, keeps_its_streams_while_it_drains_and_opens_no_new_one) {
  TunnelPair pair;
  const auto [client, target] = pair.join();
  testing::on(pair.server.plane(0),
              [](DataPlane& plane) { only_tunnel(plane).drain(Reason::shutdown, std::chrono::milliseconds(0)); });
  ASSERT_TRUE(pair.agent_side.draining.take());
  const auto late = pair.connect();
  EXPECT_EQ(testing::receive_to_end(late.get()).end, End::reset);
  const std::string body = pattern(2 << 20);
  auto sends = std::async(std::launch::async, [&] { testing::send_all(target.get(), body); });
  EXPECT_TRUE(testing::receive(client.get(), body.size()) == body);
  testing::half_close(client.get());
  EXPECT_EQ(testing::receive_to_end(target.get()).end, End::clean);
}

TEST(Tunnel, sends_the_peer_its_reason_to_close_and_resets_its_streams) {
  TunnelPair pair;
  const auto [client, target] = pair.join();
  testing::send_all(target.get(), "x");
  EXPECT_EQ(testing::receive(client.get(), 1), "x");
  testing::on(pair.server.plane(0),
              [](DataPlane& plane) { only_tunnel(plane).close(Reason::denied, "this identity is on the deny list"); });
  const auto why = pair.agent_side.closed.take();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code, "tunnel.denied");
  EXPECT_EQ(why->text, "the peer closed: this identity is on the deny list");
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
  EXPECT_EQ(testing::receive_to_end(target.get()).end, End::reset);
  EXPECT_TRUE(pair.is_empty());
}

TEST(Tunnel, a_broken_connection_is_lost_at_both_ends) {
  TunnelPair pair;
  pair.cut(0);
  EXPECT_EQ(pair.agent_side.closed.take().value_or(Error{}).code, "tunnel.lost");
  EXPECT_EQ(pair.server_side.closed.take().value_or(Error{}).code, "tunnel.lost");
}

/// A tunnel on its own plane; the test holds the other end as a plain socket.
class Lonely {
 public:
  explicit Lonely(protocol::Role role) : planes_(1, 1 << 20) {
    planes_.start();
    const UniqueFd door = testing::bound_socket(testing::loopback(), 1);
    Tunnel::Setup setup;
    setup.id = id;
    setup.fd = make_tcp_socket(AF_INET);
    const auto remote = local_endpoint_of(door.get());
    (void)::connect(setup.fd.get(), remote.data(), static_cast<socklen_t>(remote.size()));
    peer = UniqueFd(::accept4(door.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const auto authority = testing::make_authority();
    const testing::CertificateDirectory files;
    auto tls =
        TlsContext::for_server(files.write("server", testing::issue(authority, testing::server_request()), authority));
    setup.ssl = tls->make_ssl();
    setup.session.role = role;
    testing::on(plane(), [&](DataPlane& here) { here.add(std::make_unique<Tunnel>(here, std::move(setup), side)); });
  }
  ~Lonely() { planes_.stop(); }
  DataPlane& plane() { return planes_.plane(0); }

  const TunnelId id = DataPlane::next_tunnel_id();
  UniqueFd peer;
  testing::Side side;

 private:
  DataPlanes planes_;
};

TEST(Tunnel, a_peer_that_never_shakes_hands_is_dropped_in_time) {
  Lonely lonely(protocol::Role::server);
  const auto age = [&lonely](std::chrono::seconds age) {
    testing::on(lonely.plane(), [&](DataPlane& plane) {
      if (Tunnel* tunnel = plane.find_tunnel(lonely.id)) tunnel->on_tick(monotonic_now() + age);
    });
  };
  age(std::chrono::seconds(9));
  EXPECT_EQ(lonely.side.closed.size(), 0U);
  age(std::chrono::seconds(11));
  const auto why = lonely.side.closed.take(std::chrono::seconds(1));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code, "tunnel.timed_out");
  testing::on(lonely.plane(), [](DataPlane& plane) { EXPECT_EQ(plane.counters().tunnels.value(), 0); });
  EXPECT_EQ(testing::receive_to_end(lonely.peer.get()).end, End::clean);
}

TEST(Tunnel, a_peer_that_speaks_no_tls_is_dropped) {
  Lonely lonely(protocol::Role::server);
  testing::send_all(lonely.peer.get(), "GET / HTTP/1.1\r\nHost: example\r\n\r\n");
  const auto why = lonely.side.closed.take();
  ASSERT_TRUE(why);
  EXPECT_TRUE(why->code.starts_with("tls.")) << why->code;
}

TEST(Tunnel, refuses_streams_when_the_memory_budget_is_used_up) {
  TunnelPair pair({.memory_budget_bytes = 4 << 20});
  const auto first = pair.join();
  // As if other workers held it.
  std::int64_t taken = pair.server.budget().left();
  pair.server.budget().charge(taken + (1 << 20));
  const auto second = pair.connect();
  EXPECT_EQ(testing::receive_to_end(second.get()).end, End::reset);
  pair.server.budget().give(taken + (1 << 20));
  const auto third = pair.join();
  testing::send_all(third.client.get(), "x");
  EXPECT_EQ(testing::receive(third.target.get(), 1), "x");
  testing::send_all(first.client.get(), "y");
  EXPECT_EQ(testing::receive(first.target.get(), 1), "y");
}

TEST(Tunnel, the_last_tenth_of_the_memory_is_for_those_with_less_than_an_equal_share) {
  for (const bool opener : {false, true}) {
    TunnelPair pair({.memory_budget_bytes = 4 << 20});
    DataPlanes& planes = opener ? pair.agent : pair.server;
    MemoryHolder& own = opener ? *pair.agent_memory : *pair.server_memory;
    MemoryHolder other(planes.budget());
    const std::int64_t taken = planes.budget().left() - (300 << 10);
    planes.budget().charge(taken);
    other.add(taken);
    {
      const auto joined = pair.join();
      testing::send_all(joined.client.get(), "x");
      EXPECT_EQ(testing::receive(joined.target.get(), 1), "x") << opener;
      EXPECT_GT(own.bytes(), 0) << opener;
    }
    ASSERT_TRUE(testing::eventually(planes, [&own](DataPlane&) { return own.bytes() == 0; }));
    other.add(-taken);
    own.add(taken);
    const auto refused = pair.connect();
    EXPECT_EQ(testing::receive_to_end(refused.get()).end, End::reset) << opener;
    own.add(-taken);
    planes.budget().give(taken);
  }
}

}  // namespace
}  // namespace culvert
