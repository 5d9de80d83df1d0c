// SPDX-License-Identifier: Apache-2.0
#include "common/ports/tcp_port.hpp"

#include <gtest/gtest.h>

#include "tests/testing/held_stream.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

using protocol::Reason;
using testing::End;
using testing::pattern;
using testing::TunnelPair;

/// The first stream is held, unanswered, until the test refuses it; later ones are dialled.
class RefusesFirst {
 public:
  explicit RefusesFirst(TunnelPair& pair) : pair_(pair) {
    pair.server_side.opened = [this](Tunnel& tunnel, Stream stream, const protocol::Open&) {
      if (!was_held_.exchange(true)) {
        held_ = std::make_unique<testing::HeldStream>(tunnel.plane(), std::move(stream));
      } else {
        pair_.dial(tunnel, std::move(stream));
      }
      opened.put(tunnel.id());
    };
  }
  void refuse(const protocol::Reject& reject) { held_->refuse(reject); }
  /// Waits until the held stream's acceptor has this many bytes.
  bool has_early_bytes(std::size_t bytes) {
    return testing::eventually(pair_.server, [this, bytes](DataPlane&) { return held_->early_bytes() == bytes; });
  }
  testing::Mailbox<TunnelId> opened;

 private:
  TunnelPair& pair_;
  std::atomic<bool> was_held_ = false;
  std::unique_ptr<testing::HeldStream> held_;
};

void try_another_tunnel_with_the_same_first_bytes() {
  TunnelPair pair({.tunnels = 2});
  RefusesFirst refusing(pair);
  const std::string body = pattern(100'000);
  const auto client = pair.connect();
  testing::send_all(client.get(), body);
  const auto first = refusing.opened.take();
  ASSERT_TRUE(refusing.has_early_bytes(16'384)) << "an unanswered stream carries 16 KiB and no more";
  refusing.refuse({Reason::overloaded, true, "not here"});
  const auto second = refusing.opened.take();
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
  const auto target = pair.accept();
  ASSERT_TRUE(target);
  EXPECT_TRUE(testing::receive(target.get(), body.size()) == body);
}

/// Repeated, since OPEN and 16 KiB make two batches, and sometimes the answer arrives between them.
TEST(TcpPort, tries_another_tunnel_with_the_same_first_bytes) {
  for (int time = 0; time < 30 && !HasFailure(); ++time) try_another_tunnel_with_the_same_first_bytes();
}

TEST(TcpPort, tries_another_tunnel_for_a_client_that_has_half_closed) {
  TunnelPair pair({.tunnels = 2});
  RefusesFirst refusing(pair);
  const std::string body = pattern(1'000);
  const auto client = pair.connect();
  testing::send_all(client.get(), body);
  testing::half_close(client.get());
  (void)refusing.opened.take();
  ASSERT_TRUE(refusing.has_early_bytes(1'000));
  refusing.refuse({Reason::overloaded, true, "not here"});
  const auto target = pair.accept();
  ASSERT_TRUE(target);
  const auto received = testing::receive_to_end(target.get());
  EXPECT_TRUE(received.bytes == body);
  EXPECT_EQ(received.end, End::clean);
  testing::send_all(target.get(), "answer");
  EXPECT_EQ(testing::receive(client.get(), 6), "answer");
}

TEST(TcpPort, tries_another_tunnel_for_a_client_that_only_half_closed) {
  for (const std::size_t workers : {std::size_t{1}, std::size_t{2}}) {
    TunnelPair pair({.workers = workers, .tunnels = 2});
    RefusesFirst refusing(pair);
    const auto client = pair.connect();
    (void)refusing.opened.take();
    testing::half_close(client.get());
    // The end is on its way to the first tunnel.
    testing::on(pair.agent.plane(0), [](DataPlane&) {});
    refusing.refuse({Reason::overloaded, true, "not here"});
    const auto target = pair.accept();
    ASSERT_TRUE(target);
    EXPECT_EQ(testing::receive_to_end(target.get()).end, End::clean);
    testing::send_all(target.get(), "answer");
    EXPECT_EQ(testing::receive(client.get(), 6), "answer");
  }
}

TEST(TcpPort, a_client_that_has_moved_is_watched_by_its_new_worker_alone) {
  TunnelPair pair({.workers = 2, .tunnels = 2});
  RefusesFirst refusing(pair);
  const auto client = pair.connect();
  (void)refusing.opened.take();
  refusing.refuse({Reason::overloaded, true, "not here"});
  const auto target = pair.accept();
  ASSERT_TRUE(target);
  // Whatever comes makes events: of the old worker's poller, too, if it still knew the socket.
  for (int i = 0; i < 200; ++i) {
    testing::send_all(client.get(), "x");
    EXPECT_EQ(testing::receive(target.get(), 1), "x");
  }
}

TEST(TcpPort, tries_another_tunnel_on_another_worker) {
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

TEST(TcpPort, resets_the_client_if_the_refusal_is_not_retryable) {
  TunnelPair pair({.tunnels = 2});
  RefusesFirst refusing(pair);
  const auto client = pair.connect();
  (void)refusing.opened.take();
  refusing.refuse({Reason::target_refused, false, "connection refused"});
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
  EXPECT_EQ(refusing.opened.size(), 0U);
}

TEST(TcpPort, resets_the_client_when_every_tunnel_refuses) {
  TunnelPair pair({.tunnels = 2});
  pair.server_side.opened = [](Tunnel&, Stream stream, const protocol::Open&) {
    stream.reject({Reason::overloaded, true, "not here"});
  };
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(TcpPort, resets_the_client_when_no_tunnel_is_up) {
  TunnelPair pair;
  pair.cut(0);
  ASSERT_TRUE(pair.agent_side.closed.take());
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(TcpPort, waits_for_a_first_tunnel_while_those_that_it_finds_cannot_be_used) {
  TunnelPair pair;
  pair.cut(0);
  ASSERT_TRUE(pair.agent_side.closed.take());
  const auto client = pair.connect();
  testing::send_all(client.get(), "early");
  pair.start_tunnel(1);
  const auto target = pair.accept();
  ASSERT_TRUE(target);
  EXPECT_EQ(testing::receive(target.get(), 5), "early");
}

TEST(TcpPort, tries_another_tunnel_when_this_one_is_leaving) {
  TunnelPair pair({.tunnels = 2});
  RefusesFirst refusing(pair);
  const auto client = pair.connect();
  testing::send_all(client.get(), "once");
  (void)refusing.opened.take();
  refusing.refuse({Reason::draining, true, "this tunnel is leaving"});
  const auto target = pair.accept();
  EXPECT_EQ(testing::receive(target.get(), 4), "once");
}

TEST(TcpPort, accepts_connections_max_and_not_one_more) {
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

TEST(TcpPort, a_client_that_leaves_before_the_answer_is_forgotten) {
  TunnelPair pair;
  RefusesFirst refusing(pair);
  auto client = pair.connect();
  (void)refusing.opened.take();
  testing::reset(client);
  EXPECT_TRUE(testing::eventually(pair.server, [](DataPlane& plane) { return plane.is_idle(); }));
  EXPECT_TRUE(testing::eventually(pair.agent, [](DataPlane& plane) { return plane.is_idle(); }));
  EXPECT_EQ(pair.connections(), 0U);
}

}  // namespace
}  // namespace culvert
