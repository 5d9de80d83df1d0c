// SPDX-License-Identifier: Apache-2.0
#include "common/net/send_buffer.hpp"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace culvert {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(const SendBuffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.bytes().data()), buffer.size()};
}

TEST(SendBuffer, makes_room_in_front_before_it_grows) {
  SendBuffer buffer(8);
  const auto* const memory = buffer.bytes().data();
  buffer.append(bytes_of("abcdefgh"));
  buffer.drop(5);
  buffer.append(bytes_of("ijklm"));
  EXPECT_EQ(text_of(buffer), "fghijklm");
  EXPECT_EQ(buffer.bytes().data(), memory);
}

TEST(SendBuffer, grows_when_it_must) {
  SendBuffer buffer(0);
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    buffer.append(bytes_of("0123456789"));
    expected += "0123456789";
    buffer.drop(3);
    expected.erase(0, 3);
  }
  EXPECT_EQ(text_of(buffer), expected);
}

}  // namespace
}  // namespace culvert
