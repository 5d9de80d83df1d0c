// SPDX-License-Identifier: Apache-2.0
#include "common/net/byte_queue.hpp"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace culvert {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(const ByteQueue& queue) {
  return {reinterpret_cast<const char*>(queue.front().data()), queue.front().size()};
}

TEST(ByteQueue, gives_bytes_in_the_order_they_came) {
  ByteQueue queue;
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    const std::string piece = std::to_string(i);
    queue.append(bytes_of(piece));
    expected += piece;
    queue.drop(1);
    expected.erase(0, 1);
    ASSERT_EQ(text_of(queue), expected);
  }
}

TEST(ByteQueue, is_empty_once_all_is_dropped) {
  ByteQueue queue;
  EXPECT_TRUE(queue.empty());
  queue.append(bytes_of("abc"));
  queue.drop(2);
  EXPECT_EQ(queue.size(), 1U);
  queue.drop(1);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.front().data(), nullptr) << "an empty queue keeps no memory";
}

TEST(ByteQueue, keeps_the_order_over_many_blocks) {
  std::string text(5 * ByteQueue::block_bytes + 77, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i % 251);
  ByteQueue queue;
  std::string came;
  std::size_t given = 0;
  while (came.size() < text.size()) {
    const std::size_t piece = std::min<std::size_t>(50'021, text.size() - given);
    queue.append(bytes_of(text).subspan(given, piece));
    given += piece;
    ASSERT_EQ(queue.size(), given - came.size());
    const std::string front = text_of(queue).substr(0, given == text.size() ? std::string::npos : 30'011);
    came += front;
    queue.drop(front.size());
  }
  EXPECT_EQ(came, text);
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace culvert
