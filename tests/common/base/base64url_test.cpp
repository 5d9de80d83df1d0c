// SPDX-License-Identifier: Apache-2.0
#include "common/base/base64url.hpp"

#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(Base64url, has_the_test_vectors_of_rfc_4648_without_padding) {
  for (const auto& [bytes, text] : {std::pair<std::string, std::string>{"", ""},
                                    {"f", "Zg"},
                                    {"fo", "Zm8"},
                                    {"foo", "Zm9v"},
                                    {"foob", "Zm9vYg"},
                                    {"fooba", "Zm9vYmE"},
                                    {"foobar", "Zm9vYmFy"},
                                    {"\xfb\xff\xfe", "-__-"}}) {
    EXPECT_EQ(encode_base64url(bytes), text);
    EXPECT_EQ(decode_base64url(text), bytes);
  }
}

TEST(Base64url, has_one_spelling) {
  for (const std::string text : {"Zg==", "Zh", "Z", "Zm 9v", "Zm9v\n", "+//+", "Zm9vY"})
    EXPECT_EQ(decode_base64url(text), std::nullopt) << text;
}

TEST(Base64url, brings_every_byte_back) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes += static_cast<char>(i);
    EXPECT_EQ(decode_base64url(encode_base64url(bytes)), bytes);
  }
}

}  // namespace
}  // namespace culvert
