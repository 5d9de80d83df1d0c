// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/token_answer.hpp"

#include <algorithm>

#include "common/http/characters.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {

using namespace culvert::server;  // NOLINT(google-build-using-namespace)

namespace {

std::string form_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '%') {
      decoded += static_cast<char>(http::hex_value(text[at + 1]) * 16 + http::hex_value(text[at + 2]));
      at += 2;
    } else {
      decoded += text[at] == '+' ? ' ' : text[at];
    }
  }
  return decoded;
}

}  // namespace

void token_answer(std::span<const std::byte> input) {
  if (input.empty()) return;
  const std::string_view body(reinterpret_cast<const char*>(input.data()) + 1, input.size() - 1);
  const int status = (input[0] & std::byte{1}) == std::byte{} ? 200 : 400;
  check(form_decoded(form_encoded(body)) == body, "a form's value comes back");
  const auto token = read_token_answer(status, body);
  if (!token) {
    const std::string& text = token.error().text;
    check(text.size() < 160 && std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; }),
          "an error is short and printable");
    check(text.contains("error \"") == (text.find('"') != text.npos), "and shows one word at most");
    return;
  }
  check(status == 200, "an error gives no token");
  check(!token->text.empty() && token->text.size() <= access_token_bytes_max && http::is_field_value(token->text) &&
            token->text.find_first_of(" \t,;\"") == token->text.npos,
        "a header field carries the token");
  check(body.contains(token->text) || body.contains('\\'), "which the answer has");
  check(token->lifetime.count() >= 0 && token->lifetime <= access_token_lifetime_max, "for a day at most");
}

}  // namespace culvert::fuzz
