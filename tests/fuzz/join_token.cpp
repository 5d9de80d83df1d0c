// SPDX-License-Identifier: Apache-2.0
#include "common/enrolment/join_token.hpp"

#include <string>

#include "common/base/base64url.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {

void join_token(std::span<const std::byte> input) {
  if (input.empty()) return;
  std::string text(reinterpret_cast<const char*>(input.data()) + 1, input.size() - 1);
  if (input[0] == std::byte{0}) text = "culvert-join-1." + encode_base64url(text);
  const auto token = parse_join_token(text);
  if (!token) return check(token.error().code == "token.malformed", "a text that is refused has this code");
  const std::string written = to_text(*token);
  check(text.contains(written), "a token has one spelling");
  check(text.find_first_not_of(" \t\r\n") == text.find(written), "and nothing but blanks before it");
  const auto again = parse_join_token(written);
  check(again && *again == *token, "a token survives being written");
}

}  // namespace culvert::fuzz
