// SPDX-License-Identifier: Apache-2.0
#include "protocol/queue.hpp"

#include <memory>

#include <gtest/gtest.h>

namespace culvert::protocol {
namespace {

TEST(Queue, returns_items_in_the_order_of_their_arrival_however_both_interleave) {
  Queue<std::unique_ptr<int>> queue;
  int next = 0;
  int expected = 0;
  // Three in, two out: the queue grows, and reuses the space of popped items at some time. Then all out.
  for (int round = 0; round < 1'000; ++round) {
    for (int i = 0; i < 3; ++i) queue.push_back(std::make_unique<int>(next++));
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(*queue.front(), expected++);
      queue.pop_front();
    }
    ASSERT_EQ(queue.size(), static_cast<std::size_t>(next - expected));
  }
  for (; !queue.empty(); queue.pop_front()) ASSERT_EQ(*queue.front(), expected++);
  EXPECT_EQ(expected, next);
  queue.push_back(std::make_unique<int>(7));
  EXPECT_EQ(*queue.front(), 7);
}

TEST(Queue, does_not_grow_with_what_passes_through_even_if_it_is_never_empty) {
  Queue<int> queue;
  queue.push_back(0);
  const int* const first = &queue.front();
  std::size_t moves = 0;
  const int* place = first;
  for (int i = 1; i < 10'000; ++i) {
    queue.push_back(i);
    queue.pop_front();
    ASSERT_EQ(queue.front(), i);
    if (&queue.front() < place) ++moves;  // Back to the start of the same memory, or of a larger one.
    place = &queue.front();
  }
  EXPECT_GT(moves, 1'000U);
}

TEST(Queue, shrinks_at_its_end) {
  Queue<int> queue;
  for (int i = 0; i < 5; ++i) queue.push_back(i);
  queue.pop_front();
  queue.shrink(2);
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_EQ(queue.front(), 1);
}

}  // namespace
}  // namespace culvert::protocol
