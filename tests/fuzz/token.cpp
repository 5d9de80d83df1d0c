// SPDX-License-Identifier: Apache-2.0
#include "server/auth/token.hpp"

#include <boost/json/serialize.hpp>

#include "common/base/base64url.hpp"
#include "common/base/json_object.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {

using namespace culvert::server;  // NOLINT(google-build-using-namespace)

namespace {

std::string encode(std::string_view bytes) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  unsigned group = 0;
  unsigned bits = 0;
  for (const char c : bytes) {
    group = (group << 8 | static_cast<unsigned char>(c)) & 0xffff;
    for (bits += 8; bits >= 6; bits -= 6) text += letters[group >> (bits - 6) & 63];
  }
  if (bits > 0) text += letters[group << (6 - bits) & 63];
  return text;
}

void check_token(std::string_view text) {
  const auto token = parse_token(text);
  if (!token) return;
  check(text.size() <= token_bytes_max, "a token is bounded");
  check(token->claims.is_object(), "claims are an object");
  // Whatever path an account is looked up by.
  (void)text_at(token->claims, "/a/0/~1");
}

}  // namespace

void token(std::span<const std::byte> input) {
  if (input.empty()) return;
  const std::string_view text(reinterpret_cast<const char*>(input.data()) + 1, input.size() - 1);
  const std::string_view header = R"({"alg":"ES256","kid":"k"})";
  switch (static_cast<unsigned>(input[0]) % 4) {
    case 0: return check_token(text);
    case 1: return check_token(encode(header) + "." + encode(text) + ".AAAA");
    case 2: return check_token(encode(text) + "." + encode(header) + ".AAAA");
    default: break;
  }
  const auto bytes = decode_base64url(text);
  if (bytes) check(encode(*bytes) == text, "a value has one spelling");
  check(decode_base64url(encode(text)) == text, "and what is encoded comes back");
  auto object = parse_object(text, token_elements_max);
  if (!object) return;
  check(object->is_object(), "an object is one");
  if (text.find_first_of("eE") != text.npos) return;  // A number like 0e999 comes out as none.
  const std::string written = boost::json::serialize(*object);
  object.reset();  // What the code under test costs is measured, too.
  check(parse_object(written, token_elements_max).has_value(), "and stays one when written");
}

}  // namespace culvert::fuzz
