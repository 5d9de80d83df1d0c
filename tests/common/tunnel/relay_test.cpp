// SPDX-License-Identifier: Apache-2.0
// A TCP connection through the tunnel must behave like a direct one. Real sockets at both ends.
#include "common/tunnel/relay.hpp"

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

using namespace std::chrono_literals;
using testing::End;
using testing::eventually;
using testing::pattern;
using testing::TunnelPair;

constexpr std::size_t megabytes = 8 << 20;

/// Sends on its own thread while the test receives.
std::future<void> sending(int fd, const std::string& bytes) {
  return std::async(std::launch::async, [fd, &bytes] { testing::send_all(fd, bytes); });
}

/// Sends piece by piece until `planes` holds bytes for a slow reader, more than the kernel may still find room for.
/// Waits for each piece, so that no bytes are in flight afterwards, and less than a window is held.
std::string send_until_queued(DataPlanes& planes, int fd) {
  std::string sent;
  const std::string piece = pattern(128 << 10);
  std::uint64_t before = 0;
  testing::on(planes.plane(0), [&](DataPlane& plane) { before = plane.counters().stream_bytes_in.value(); });
  bool is_queued = false;
  while (!is_queued && sent.size() < (64 << 20)) {
    testing::send_all(fd, piece);
    sent += piece;
    const auto has_come = [&](DataPlane& plane) {
      is_queued = plane.counters().buffered_bytes.value() > (64 << 10);
      return plane.counters().stream_bytes_in.value() == before + sent.size();
    };
    EXPECT_TRUE(eventually(planes, has_come));
  }
  return sent;
}

TEST(Relay, carries_megabytes_both_ways_at_once) {
  TunnelPair pair;
  const auto joined = pair.join();
  const std::string up = pattern(megabytes, 1);
  const std::string down = pattern(megabytes, 2);
  auto sends_up = sending(joined.client.get(), up);
  auto sends_down = sending(joined.target.get(), down);
  auto received_up = std::async(std::launch::async, [&] { return testing::receive(joined.target.get(), up.size()); });
  EXPECT_TRUE(testing::receive(joined.client.get(), down.size()) == down);
  EXPECT_TRUE(received_up.get() == up);
}

TEST(Relay, half_close_by_the_client_leaves_the_way_back_open) {
  TunnelPair pair;
  const auto [client, target] = pair.join();
  testing::send_all(client.get(), "question");
  testing::half_close(client.get());
  const auto question = testing::receive_to_end(target.get());
  EXPECT_EQ(question.bytes, "question");
  EXPECT_EQ(question.end, End::clean);
  const std::string answer = pattern(1 << 20);
  auto answers = sending(target.get(), answer);
  EXPECT_TRUE(testing::receive(client.get(), answer.size()) == answer);
  answers.get();
  testing::half_close(target.get());
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::clean);
}

TEST(Relay, half_close_by_the_target_leaves_the_way_to_it_open) {
  TunnelPair pair;
  const auto [client, target] = pair.join();
  testing::send_all(target.get(), "greeting");
  testing::half_close(target.get());
  const auto greeting = testing::receive_to_end(client.get());
  EXPECT_EQ(greeting.bytes, "greeting");
  EXPECT_EQ(greeting.end, End::clean);
  testing::send_all(client.get(), "late");
  testing::half_close(client.get());
  const auto late = testing::receive_to_end(target.get());
  EXPECT_EQ(late.bytes, "late");
  EXPECT_EQ(late.end, End::clean);
}

TEST(Relay, half_close_before_the_dial_is_done_is_kept) {
  TunnelPair pair;
  const auto client = pair.connect();
  testing::send_all(client.get(), "all at once");
  testing::half_close(client.get());
  const auto target = pair.accept();
  const auto question = testing::receive_to_end(target.get());
  EXPECT_EQ(question.bytes, "all at once");
  EXPECT_EQ(question.end, End::clean);
  testing::send_all(target.get(), "answer");
  testing::half_close(target.get());
  EXPECT_EQ(testing::receive_to_end(client.get()).bytes, "answer");
}

TEST(Relay, a_reset_by_the_client_is_a_reset_at_the_target) {
  TunnelPair pair;
  auto [client, target] = pair.join();
  testing::send_all(client.get(), "x");
  EXPECT_EQ(testing::receive(target.get(), 1), "x");
  testing::reset(client);
  EXPECT_EQ(testing::receive_to_end(target.get()).end, End::reset);
  EXPECT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.is_idle(); }));
}

TEST(Relay, a_reset_by_the_target_is_a_reset_at_the_client) {
  TunnelPair pair;
  auto [client, target] = pair.join();
  testing::send_all(target.get(), "x");
  EXPECT_EQ(testing::receive(client.get(), 1), "x");
  testing::reset(target);
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(Relay, a_reset_with_megabytes_queued_never_looks_like_an_end) {
  TunnelPair pair;
  auto [client, target] = pair.join(4'096);
  std::size_t sent = send_until_queued(pair.agent, target.get()).size();
  const std::string filler = pattern(1 << 20);
  while (const std::size_t more = testing::send_some(target.get(), filler)) sent += more;
  EXPECT_GT(sent, std::size_t{1 << 20});
  testing::reset(target);
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
}

TEST(Relay, a_reset_by_a_client_that_stopped_reading_reaches_the_target) {
  TunnelPair pair;
  auto [client, target] = pair.join(4'096);
  (void)send_until_queued(pair.agent, target.get());
  testing::reset(client);
  EXPECT_EQ(testing::receive_to_end(target.get()).end, End::reset);
}

TEST(Relay, a_close_with_unread_bytes_is_a_reset_at_the_other_end) {
  TunnelPair pair;
  auto [client, target] = pair.join();
  testing::send_all(target.get(), "nobody reads this");
  EXPECT_EQ(testing::receive(client.get(), 1), "n");
  client.close();  // The kernel sends RST, as for any program.
  EXPECT_EQ(testing::receive_to_end(target.get()).end, End::reset);
}

TEST(Relay, a_stalled_reader_holds_its_window_and_delays_nobody) {
  TunnelPair pair;
  const auto stalled = pair.join(4'096);
  const auto lively = pair.join();
  const std::string filler = pattern(1 << 20);
  std::size_t sent = 0;
  std::size_t idle = 0;
  // The sender's kernel is full once it accepts nothing during a round trip of the other stream.
  while (idle < 50 && sent < (64 << 20)) {
    const std::size_t more = testing::send_some(stalled.target.get(), filler);
    idle = more == 0 ? idle + 1 : 0;
    sent += more;
    testing::send_all(lively.client.get(), "ping");
    ASSERT_EQ(testing::receive(lively.target.get(), 4), "ping");
  }
  EXPECT_LT(sent, std::size_t{64 << 20});
  std::int64_t queued = 0;
  std::int64_t granted = 0;
  testing::on(pair.agent.plane(0), [&](DataPlane& plane) {
    queued = plane.counters().buffered_bytes.value();
    granted = plane.counters().window_bytes.value();
  });
  EXPECT_GT(queued, 0);
  EXPECT_LE(queued, granted);
  const std::string body = pattern(megabytes, 3);
  auto sends = sending(lively.target.get(), body);
  EXPECT_TRUE(testing::receive(lively.client.get(), body.size()) == body);
}

TEST(Relay, is_reset_when_memory_is_used_up_and_its_reader_takes_nothing) {
  TunnelPair pair({.memory_budget_bytes = 16 << 20});
  const auto stuck = pair.join(4'096);
  auto forgotten = pair.join(4'096);  // Its stream has ended, and its last bytes wait.
  testing::half_close(forgotten.client.get());
  EXPECT_EQ(testing::receive_to_end(forgotten.target.get()).end, End::clean);
  (void)send_until_queued(pair.agent, forgotten.target.get());
  forgotten.target.close();
  ASSERT_TRUE(eventually(pair.agent, [](DataPlane& plane) { return plane.counters().streams.value() == 1; }));
  const auto slow = pair.join(4'096);
  const auto idle = pair.join();
  for (const int target : {stuck.target.get(), slow.target.get()}) {
    while (testing::send_some(target, pattern(1 << 20)) > 0) {
    }
  }
  std::promise<void> over;
  const auto until = over.get_future().share();
  const auto again = [&](std::chrono::milliseconds pause) {
    return until.wait_for(pause) == std::future_status::timeout;
  };
  std::thread reader([&] {
    while (again(5ms)) (void)testing::receive(slow.client.get(), 64 << 10);
  });
  std::thread writer([&] {
    while (again(1ms)) (void)testing::send_some(slow.target.get(), pattern(1 << 20));
  });
  const std::int64_t taken = pair.agent.budget().left() + (16 << 20);  // More than all streams could free.
  pair.agent.budget().charge(taken);
  EXPECT_TRUE(eventually(pair.agent, [](DataPlane& plane) { return plane.counters().streams_relieved.value() == 2; }));
  for (const int client : {stuck.client.get(), forgotten.client.get()})
    EXPECT_EQ(testing::receive_to_end(client).end, End::reset);
  pair.agent.budget().give(taken);
  testing::send_all(idle.target.get(), "still here");
  EXPECT_EQ(testing::receive(idle.client.get(), 10), "still here");
  EXPECT_FALSE(testing::receive(slow.client.get(), 1).empty());
  over.set_value();
  reader.join();
  writer.join();
}

TEST(Relay, last_bytes_reach_a_slow_client_after_the_stream_is_forgotten) {
  TunnelPair pair;
  auto [client, target] = pair.join(4'096);
  testing::half_close(client.get());
  EXPECT_EQ(testing::receive_to_end(target.get()).end, End::clean);
  const std::string sent = send_until_queued(pair.agent, target.get());
  target.close();
  ASSERT_TRUE(eventually(pair.agent, [](DataPlane& plane) { return plane.counters().streams.value() == 0; }));
  testing::on(pair.agent.plane(0), [](DataPlane& plane) { EXPECT_EQ(plane.relays().size(), 1U); });
  const auto received = testing::receive_to_end(client.get());
  EXPECT_TRUE(received.bytes == sent);
  EXPECT_EQ(received.end, End::clean);
}

TEST(Relay, a_slow_client_that_leaves_frees_what_waited_for_it) {
  TunnelPair pair;
  auto [client, target] = pair.join(4'096);
  testing::half_close(client.get());
  (void)testing::receive_to_end(target.get());
  (void)send_until_queued(pair.agent, target.get());
  target.close();
  ASSERT_TRUE(eventually(pair.agent, [](DataPlane& plane) { return plane.counters().streams.value() == 0; }));
  testing::reset(client);
  EXPECT_TRUE(eventually(pair.agent, [](DataPlane& plane) { return plane.is_idle(); }));
}

TEST(Relay, an_idle_stream_holds_no_buffer) {
  TunnelPair pair;
  const auto [client, target] = pair.join();
  testing::send_all(client.get(), "hello");
  EXPECT_EQ(testing::receive(target.get(), 5), "hello");
  const auto holds_nothing = [](DataPlane& plane) {
    return plane.counters().buffered_bytes.value() == 0 && plane.counters().streams.value() == 1 &&
           std::ranges::none_of(plane.tunnels(), [](const auto& tunnel) { return tunnel.second->holds_buffer(); });
  };
  EXPECT_TRUE(eventually(pair.agent, holds_nothing));
  EXPECT_TRUE(eventually(pair.server, holds_nothing));
}

TEST(Relay, a_cut_tunnel_resets_both_sockets_and_leaves_nothing) {
  TunnelPair pair;
  const auto joined = pair.join();
  const auto slow = pair.join(4'096);
  (void)send_until_queued(pair.agent, slow.target.get());
  pair.cut(0);
  EXPECT_EQ(testing::receive_to_end(joined.client.get()).end, End::reset);
  EXPECT_EQ(testing::receive_to_end(joined.target.get()).end, End::reset);
  EXPECT_EQ(testing::receive_to_end(slow.client.get()).end, End::reset);
  EXPECT_EQ(testing::receive_to_end(slow.target.get()).end, End::reset);
  EXPECT_TRUE(pair.is_empty());
}

/// The acceptor's direction is aborted: the received bytes must not look complete.
TEST(Relay, an_aborted_fin_is_a_reset_for_the_reader) {
  TunnelPair pair;
  /// A source that gives three bytes and then fails, while its other direction stays open.
  class Failing final : public StreamEnd {
   public:
    Pull pull(std::span<std::byte> room) override {
      std::ranges::fill(room.first(3), std::byte{'x'});
      return {3, protocol::Source::aborted, protocol::Reason::none};
    }
    void push(std::span<const Bytes>) override {}
    void on_head(Bytes) override {}
    void on_finished(bool) override {}
    void on_reset(protocol::Reason) override {}
    void on_over() override {}
    Stream stream;
  };
  Failing failing;
  pair.server_side.opened = [&failing](Tunnel&, Stream stream, const protocol::Open&) {
    failing.stream = std::move(stream);
    failing.stream.join(failing);
    failing.stream.accept();
    failing.stream.set_readable();
  };
  const auto client = pair.connect();
  EXPECT_EQ(testing::receive_to_end(client.get()).end, End::reset);
  EXPECT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.counters().streams.value() == 0; }));
  testing::on(pair.server.plane(0), [&failing](DataPlane&) { failing.stream = Stream(); });
}

}  // namespace
}  // namespace culvert
