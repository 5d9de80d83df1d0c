// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/local_port.hpp"

#include <gtest/gtest.h>

#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

using protocol::Reason;
using testing::End;
using testing::pattern;
using testing::TunnelPair;

/// The first stream is held, unanswered, until the test refuses it; what comes after is dialled.
class RefusesFirst {
 public:
  explicit RefusesFirst(TunnelPair& pair) : pair_(pair) {
    pair.server_side.opened = [this](Tunnel& tunnel, protocol::StreamId stream, const protocol::Open&) {
      if (held_.exchange(true)) {
        pair_.dial(tunnel, stream);
      } else {
        plane_ = &tunnel.plane();
        end_ = Relay::accept(tunnel, stream, {}).id();
      }
      opened.put(tunnel.id());
    };
  }
  void refuse(const protocol::Reject& reject) {
    testing::on(*plane_,
                [this, &reject](DataPlane& plane) { static_cast<Relay*>(plane.find_end(end_))->give_up(reject); });
  }
  testing::Mailbox<TunnelId> opened;

 private:
  TunnelPair& pair_;
  std::atomic<bool> held_ = false;
  DataPlane* plane_ = nullptr;
  EndId end_ = 0;
};

/// Bytes that the held stream's acceptor has so far.
bool has_early_bytes(TunnelPair& pair, std::int64_t bytes) {
  return testing::eventually(pair.server,
                             [bytes](DataPlane& plane) { return plane.counters().buffered_bytes.value() == bytes; });
}

void try_another_tunnel_with_the_same_first_bytes() {
  TunnelPair pair({.tunnels = 2});
  RefusesFirst refusing(pair);
  const std::string body = pattern(100'000);
  const auto client = pair.connect();
  testing::send_all(client.get(), body);
  const auto first = refusing.opened.take();
  ASSERT_TRUE(has_early_bytes(pair, 16'384)) << "an unanswered stream carries 16 KiB and no more";
  refusing.refuse({Reason::overloaded, true, "not here"});
  const auto second = refusing.opened.take();
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
  const auto target = pair.accept();
  ASSERT_TRUE(target);
  EXPECT_TRUE(testing::receive(target.get(), body.size()) == body);
}

/// Many times: OPEN and 16 KiB make two batches, and now and then the answer comes between them.
TEST(LocalPort, tries_another_tunnel_with_the_same_first_bytes) {
  for (int time = 0; time < 30 && !HasFailure(); ++time) try_another_tunnel_with_the_same_first_bytes();
}

TEST(LocalPort, tries_another_tunnel_for_a_client_that_has_half_closed) {
  TunnelPair pair({.tunnels = 2});
  RefusesFirst refusing(pair);
  const std::string body = pattern(1'000);
  const auto client = pair.connect();
  testing::send_all(client.get(), body);
  testing::half_close(client.get());
  (void)refusing.opened.take();
  ASSERT_TRUE(has_early_bytes(pair, 1'000));
  refusing.refuse({Reason::overloaded, true, "not here"});
  const auto target = pair.accept();
  ASSERT_TRUE(target);
  const auto received = testing::receive_to_end(target.get());
  EXPECT_TRUE(received.bytes == body);
  EXPECT_EQ(received.end, End::clean);
  testing::send_all(target.get(), "answer");
  EXPECT_EQ(testing::receive(client.get(), 6), "answer");
}

TEST(LocalPort, tries_another_tunnel_on_another_worker) {
  TunnelPair pair({.workers = 2, .tunnels = 2});
  RefusesFirst refusing(pair);
  const auto client = pair.connect();
  testing::send_all(client.get(), "moves");
  (void)refusing.opened.take();
  refusing.refuse({Reason::overloaded, true, "not here"});
  const auto target = pair.accept();
  ASSERT_TRUE(target);
  EXPECT_EQ(testing::receive(target.get(), 5), "moves");
  testing::send_all(target.get(), "back");
  EXPECT_EQ(testing::receive(client.get(), 4), "back");
}

TEST(LocalPort, resets_the_client_where_trying_again_cannot_help) {
  TunnelPair pair({.tunnels = 2});
  RefusesFirst refusing(pair);
  const auto client = pair.connect();
  (void)refusing.opened.take();
  refusing.refuse({Reason::target_refused, false, "nobody listens there"});
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
  EXPECT_EQ(refusing.opened.size(), 0U);
}

TEST(LocalPort, resets_the_client_when_every_tunnel_refuses) {
  TunnelPair pair({.tunnels = 2});
  pair.server_side.opened = [](Tunnel& tunnel, protocol::StreamId stream, const protocol::Open&) {
    tunnel.reject(stream, {Reason::overloaded, true, "not here"});
  };
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(LocalPort, resets_the_client_when_no_tunnel_stands) {
  TunnelPair pair;
  pair.cut(0);
  ASSERT_TRUE(pair.agent_side.closed.take());
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(LocalPort, tries_another_tunnel_when_this_one_is_leaving) {
  TunnelPair pair({.tunnels = 2});
  RefusesFirst refusing(pair);
  const auto client = pair.connect();
  testing::send_all(client.get(), "once");
  (void)refusing.opened.take();
  refusing.refuse({Reason::draining, true, "this tunnel is leaving"});
  const auto target = pair.accept();
  EXPECT_EQ(testing::receive(target.get(), 4), "once");
}

TEST(LocalPort, takes_connections_max_and_not_one_more) {
  TunnelPair pair({.connections_max = 2});
  const auto first = pair.join();
  auto second = pair.join();
  const auto third = pair.connect();
  EXPECT_EQ(testing::receive_to_end(third.get()).end, End::reset);
  EXPECT_EQ(pair.connections(), 2U);
  testing::reset(second.client);
  ASSERT_TRUE(testing::eventually(pair.agent, [&pair](DataPlane&) { return pair.connections() == 1; }));
  const auto fourth = pair.join();
  testing::send_all(fourth.client.get(), "x");
  EXPECT_EQ(testing::receive(fourth.target.get(), 1), "x");
}

TEST(LocalPort, a_client_that_leaves_before_the_answer_is_forgotten) {
  TunnelPair pair;
  RefusesFirst refusing(pair);
  auto client = pair.connect();
  (void)refusing.opened.take();
  testing::reset(client);
  EXPECT_TRUE(testing::eventually(pair.server, [](DataPlane& plane) { return plane.ends() == 0; }));
  EXPECT_TRUE(testing::eventually(pair.agent, [](DataPlane& plane) { return plane.ends() == 0; }));
  EXPECT_EQ(pair.connections(), 0U);
}

}  // namespace
}  // namespace culvert
