// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/tunnel_directory.hpp"

#include <future>
#include <set>

#include <gtest/gtest.h>

#include "common/net/monotonic_time.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

struct TunnelDirectoryTest : ::testing::Test {
  TunnelDirectoryTest() : planes(2, 1 << 20), directory(planes) { planes.start(); }
  ~TunnelDirectoryTest() override { planes.stop(); }

  std::shared_ptr<TunnelLoad> add(const std::string& key, TunnelId id, std::size_t plane) {
    auto load = std::make_shared<TunnelLoad>();
    load->last_received_us = monotonic_now().count();
    directory.add(key, {id, plane, load});
    return load;
  }
  /// Waits until posted changes are published.
  void settle(const std::string& key, std::size_t count) {
    EXPECT_TRUE(testing::eventually(planes, [&](DataPlane&) { return directory.count(key) == count; }));
  }
  TunnelId pick(std::size_t plane, std::vector<TunnelId> tried = {}) {
    const auto entry = directory.pick("a", plane, tried);
    return entry ? entry->id : 0;
  }

  DataPlanes planes;
  TunnelDirectory directory;
};

TEST_F(TunnelDirectoryTest, calls_back_once_every_worker_finds_the_tunnel) {
  std::promise<std::size_t> count;
  directory.add("a", {1, 0, std::make_shared<TunnelLoad>()}, [&] { count.set_value(directory.count("a")); });
  auto found = count.get_future();
  ASSERT_EQ(found.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_EQ(found.get(), 1U);
  std::promise<void> gone;
  directory.add("a", {2, 0, std::make_shared<TunnelLoad>()}, [&] { gone.set_value(); });
  directory.remove("a", 2);
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready)
      << "also if it was removed before";
}

TEST_F(TunnelDirectoryTest, prefers_the_least_loaded_then_the_fewest_streams_then_the_own_worker) {
  const auto one = add("a", 1, 0);
  const auto two = add("a", 2, 1);
  settle("a", 2);
  EXPECT_EQ(pick(0), 1U);
  EXPECT_EQ(pick(0), 2U) << "the stream that was placed counts at once";
  EXPECT_EQ(pick(1), 2U);
  EXPECT_EQ(pick(1), 1U);
  one->streams = two->streams = 0;
  one->recent_bytes = 900 << 10;
  EXPECT_EQ(pick(0), 1U) << "so little makes no difference";
  one->recent_bytes = 100 << 20;
  two->streams = 100;
  EXPECT_EQ(pick(0), 2U);
  two->recent_bytes = 120 << 20;
  EXPECT_EQ(pick(1), 1U) << "alike: the fewest streams";
}

TEST_F(TunnelDirectoryTest, prefers_a_tunnel_without_a_busy_stream_on_any_worker) {
  const auto busy = add("a", 1, 0);
  const auto other = add("a", 2, 1);
  settle("a", 2);
  busy->busy_streams = 1;
  other->recent_bytes = 100 << 20;
  other->streams = 60;
  EXPECT_EQ(pick(0), 2U);
  const auto entry = directory.pick("a", 0, {}, TunnelDirectory::Moves::each_time);
  EXPECT_EQ(entry ? entry->id : 0, 2U);
}

TEST_F(TunnelDirectoryTest, prefers_far_away_an_idle_tunnel_then_the_one_that_answers_soonest) {
  const auto lossy = add("a", 1, 0);
  const auto fluent = add("a", 2, 0);
  settle("a", 2);
  lossy->round_trip_us = 400'000;
  fluent->round_trip_us = 90'000;
  lossy->recent_bytes = 500 << 10;
  fluent->recent_bytes = 100 << 20;
  EXPECT_EQ(pick(0), 2U);
  lossy->recent_bytes = 0;
  EXPECT_EQ(pick(0), 1U) << "what it measured was its own bulk, which is over";
  lossy->recent_bytes = 500 << 10;
  lossy->round_trip_us = 900;
  fluent->round_trip_us = 300;
  EXPECT_EQ(pick(0), 1U) << "the least loaded tunnel of a near link";
}

TEST_F(TunnelDirectoryTest, moves_a_connection_to_another_worker_only_for_a_quarter_less_streams) {
  const auto own = add("a", 1, 0);
  const auto other = add("a", 2, 1);
  settle("a", 2);
  own->streams = 100;
  other->streams = 80;
  EXPECT_EQ(pick(0), 1U);
  EXPECT_EQ(pick(0), 2U);
}

TEST_F(TunnelDirectoryTest, moves_a_connection_that_picks_for_each_request_only_to_a_tunnel_twice_as_good) {
  const auto own = add("a", 1, 0);
  const auto other = add("a", 2, 1);
  settle("a", 2);
  const auto picked = [&] {
    return directory.pick("a", 0, {}, TunnelDirectory::Moves::each_time).value_or(TunnelDirectory::Entry{}).id;
  };
  own->streams = 48;
  other->streams = 20;
  EXPECT_EQ(picked(), 1U);
  EXPECT_EQ(picked(), 2U) << "49 against 20";
  own->streams = other->streams = 0;
  own->recent_bytes = 16 << 20;
  other->recent_bytes = 15 << 20;
  EXPECT_EQ(picked(), 1U);
  other->recent_bytes = 3 << 20;
  EXPECT_EQ(picked(), 2U);
}

TEST_F(TunnelDirectoryTest, holds_one_of_many_far_tunnels_in_reserve_until_all_others_are_busy) {
  std::vector<std::shared_ptr<TunnelLoad>> loads;
  for (TunnelId id = 1; id <= 4; ++id) loads.push_back(add("a", id, 0));
  settle("a", 4);
  for (const auto& load : loads) load->round_trip_us = 80'000;
  std::multiset<TunnelId> picked;
  for (int i = 0; i < 6; ++i) picked.insert(pick(0));
  EXPECT_EQ(picked, (std::multiset<TunnelId>{1, 1, 2, 2, 3, 3}));
  for (std::size_t i = 0; i < 3; ++i) loads[i]->recent_bytes = 10 << 20;
  EXPECT_EQ(pick(0), 4U);
  for (const auto& load : loads) load->round_trip_us = 300;
  for (const auto& load : loads) load->recent_bytes = 0;
  EXPECT_EQ(pick(0), 4U) << "a near one is no reserve: the fewest streams";
}

TEST_F(TunnelDirectoryTest, avoids_a_tunnel_in_which_nothing_moves_though_something_waits) {
  const auto stuck = add("a", 1, 0);
  const auto busy = add("a", 2, 0);
  settle("a", 2);
  stuck->queued_bytes = 1;
  busy->recent_bytes = 100 << 20;
  busy->streams = 100;
  EXPECT_EQ(pick(0), 2U);
}

TEST_F(TunnelDirectoryTest, picks_a_silent_tunnel_only_if_there_is_no_other) {
  const auto one = add("a", 1, 0);
  const auto two = add("a", 2, 0);
  settle("a", 2);
  one->last_received_us = (monotonic_now() - std::chrono::seconds(11)).count();
  two->streams = 100;
  EXPECT_EQ(pick(0), 2U);
  EXPECT_EQ(pick(0, {2}), 1U);
}

TEST_F(TunnelDirectoryTest, offers_none_that_was_tried_and_none_of_another_key) {
  (void)add("a", 1, 0);
  (void)add("b", 2, 0);
  settle("a", 1);
  settle("b", 1);
  EXPECT_EQ(pick(0), 1U);
  EXPECT_EQ(pick(0, {1}), 0U);
}

TEST_F(TunnelDirectoryTest, forgets_removed_tunnels) {
  (void)add("a", 1, 0);
  settle("a", 1);
  directory.remove("a", 7);
  directory.remove("a", 1);
  directory.remove("a", 1);
  settle("a", 0);
  EXPECT_EQ(pick(0), 0U);
}

TEST_F(TunnelDirectoryTest, is_read_by_all_workers_while_it_changes) {
  std::vector<std::future<void>> readers;
  for (int i = 0; i < 2; ++i) {
    readers.push_back(std::async(std::launch::async, [this, i] {
      for (int round = 0; round < 2'000; ++round) (void)directory.pick("a", static_cast<std::size_t>(i), {});
    }));
  }
  for (TunnelId id = 1; id <= 200; ++id) {
    (void)add("a", id, 0);
    if (id > 1) directory.remove("a", id - 1);
  }
  for (auto& reader : readers) reader.get();
  settle("a", 1);
}

}  // namespace
}  // namespace culvert
