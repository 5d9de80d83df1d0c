// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/byte_queue.hpp"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace culvert {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(const ByteQueue& queue) {
  return {reinterpret_cast<const char*>(queue.bytes().data()), queue.size()};
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
  EXPECT_EQ(queue.bytes().data(), nullptr) << "an empty queue keeps no memory";
}

}  // namespace
}  // namespace culvert
