// SPDX-License-Identifier: Apache-2.0
#include "protocol/scheduler.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::protocol {
namespace {

class SchedulerTest : public testing::Test {
 protected:
  Stream& stream(StreamId id) {
    return streams_.emplace_back(id, StreamState::open, window_bytes_max, window_bytes_start, Time(0));
  }
  /// Serves `turns` frames, whose sizes frame_of returns. Returns the bytes of each stream.
  std::map<StreamId, std::size_t> serve(int turns, const std::map<StreamId, std::size_t>& frame_of) {
    std::map<StreamId, std::size_t> sent;
    while (turns-- > 0) {
      Stream* next = scheduler.next();
      if (next == nullptr) break;
      scheduler.charge(*next, frame_of.at(next->id));
      sent[next->id] += frame_of.at(next->id);
    }
    return sent;
  }
  Scheduler scheduler;

 private:
  std::deque<Stream> streams_;
};

TEST_F(SchedulerTest, gives_no_turn_while_no_stream_is_ready) {
  EXPECT_EQ(scheduler.next(), nullptr);
  Stream& one = stream(1);
  scheduler.activate(one);
  scheduler.activate(one);
  EXPECT_EQ(scheduler.next(), &one);
  scheduler.deactivate(one);
  scheduler.deactivate(one);
  EXPECT_EQ(scheduler.next(), nullptr);
  EXPECT_TRUE(scheduler.empty());
}

TEST_F(SchedulerTest, bulk_streams_get_equal_bytes_whatever_their_frame_sizes) {
  scheduler.activate(stream(1));
  scheduler.activate(stream(3));
  scheduler.activate(stream(5));
  const auto sent = serve(20'000, {{1, 65'548}, {3, 1'500}, {5, 13}});
  const auto quantum = static_cast<std::size_t>(Scheduler::quantum_bytes);
  const auto [least, most] = std::minmax({sent.at(1), sent.at(3), sent.at(5)});
  EXPECT_LE(most - least, 2 * quantum);
  EXPECT_GT(least, quantum);
}

TEST_F(SchedulerTest, a_turn_lasts_one_quantum) {
  Stream& one = stream(1);
  Stream& two = stream(3);
  scheduler.activate(one);
  scheduler.activate(two);
  scheduler.charge(one, Scheduler::quantum_bytes - 1);
  EXPECT_EQ(scheduler.next(), &one);
  scheduler.charge(one, 1);
  EXPECT_EQ(scheduler.next(), &two);
}

TEST_F(SchedulerTest, a_stream_that_becomes_ready_goes_ahead_of_the_bulk_streams) {
  Stream& bulky = stream(1);
  Stream& other = stream(3);
  scheduler.activate(bulky);
  scheduler.activate(other);
  (void)serve(10, {{1, 65'548}, {3, 65'548}});
  Stream& small = stream(5);
  scheduler.activate(small);
  EXPECT_EQ(scheduler.next(), &small);
}

TEST_F(SchedulerTest, pausing_after_each_frame_gains_nothing) {
  Stream& honest = stream(1);
  Stream& sly = stream(3);
  scheduler.activate(honest);
  std::map<StreamId, std::size_t> sent;
  for (int i = 0; i < 2'000; ++i) {
    scheduler.activate(sly);
    Stream* next = scheduler.next();
    scheduler.charge(*next, 16'384);
    sent[next->id] += 16'384;
    if (next == &sly) scheduler.deactivate(sly);
  }
  EXPECT_LE(sent[3], sent[1] + 2 * static_cast<std::size_t>(Scheduler::quantum_bytes));
}

TEST_F(SchedulerTest, removal_leaves_no_link_in_either_ring_whatever_the_position) {
  for (int victim = 0; victim < 3; ++victim) {
    for (const bool in_rounds : {false, true}) {
      std::vector<Stream*> all{&stream(1), &stream(3), &stream(5)};
      for (Stream* each : all) scheduler.activate(*each);
      if (in_rounds) (void)serve(4, {{1, 65'548}, {3, 65'548}, {5, 65'548}});
      scheduler.remove(*all[static_cast<std::size_t>(victim)]);
      all.erase(all.begin() + victim);
      const auto sent = serve(40, {{1, 65'548}, {3, 65'548}, {5, 65'548}});
      EXPECT_EQ(sent.size(), 2U);
      for (Stream* each : all) scheduler.remove(*each);
      EXPECT_TRUE(scheduler.empty());
    }
  }
}

}  // namespace
}  // namespace culvert::protocol
