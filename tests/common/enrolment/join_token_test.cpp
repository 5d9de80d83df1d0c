// SPDX-License-Identifier: Apache-2.0
#include "common/enrolment/join_token.hpp"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/base/base64url.hpp"

namespace culvert {
namespace {

JoinToken good_token() {
  JoinToken token{.addresses = {{"tunnel.example", 8443}, {"192.0.2.1", 443}, {"2001:db8::1", 443}},
                  .server_name = "tunnel.example",
                  .id = "k3v9-Qx_2",
                  .identity = "spiffe://test.example/account/acme/location/berlin/agent/one"};
  for (std::size_t i = 0; i < token.pin.size(); ++i) token.pin[i] = static_cast<std::byte>(i * 7);
  for (std::size_t i = 0; i < token.secret.size(); ++i) token.secret[i] = static_cast<std::byte>(255 - i * 5);
  return token;
}

const std::string prefix = "culvert-join-1.";

std::string wrapped(const std::string& inside) {
  return prefix + encode_base64url(inside);
}

std::string inside_of(const JoinToken& token) {
  return *decode_base64url(to_text(token).substr(prefix.size()));
}

/// The error's text, or "ok". No error shows a piece of the token.
std::string verdict(const std::string& text) {
  const Result<JoinToken> token = parse_join_token(text);
  if (token) return "ok";
  EXPECT_EQ(token.error().code, "token.malformed");
  constexpr std::size_t piece = 16;
  for (std::size_t at = 0; at + piece <= text.size(); ++at) {
    const std::string part = text.substr(at, piece);
    if (part.find("culvert-join-") == part.npos) {
      EXPECT_EQ(token.error().text.find(part), std::string::npos) << token.error().text;
    }
  }
  return token.error().text;
}

const std::string damaged =
    "the join token is damaged or cut off; copy the whole line, which begins with culvert-join-1.";

TEST(JoinToken, comes_back_from_its_text) {
  JoinToken token = good_token();
  EXPECT_EQ(parse_join_token(to_text(token)).value(), token);
  token.server_name.clear();
  token.addresses.resize(1);
  EXPECT_EQ(parse_join_token(to_text(token)).value(), token);
  token.addresses.assign(8, {"a.example", 65535});
  token.id.assign(32, 'i');
  EXPECT_EQ(parse_join_token(to_text(token)).value(), token);
}

TEST(JoinToken, is_one_printable_line_without_blanks) {
  const std::string text = to_text(good_token());
  EXPECT_TRUE(text.starts_with(prefix));
  EXPECT_TRUE(std::ranges::all_of(text, [](unsigned char c) { return std::isgraph(c) != 0; }));
  EXPECT_LT(text.size(), 512u);
}

TEST(JoinToken, has_the_text_that_other_programs_read) {
  EXPECT_EQ(inside_of({.addresses = {{"tunnel.example", 443}, {"::1", 443}},
                       .id = "abc",
                       .identity = "spiffe://test.example/account/acme/agent/one"}),
            R"({"a":["tunnel.example:443","[::1]:443"],"n":"",)"
            R"("p":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","i":"abc",)"
            R"("s":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","u":"spiffe://test.example/account/acme/agent/one"})");
}

TEST(JoinToken, may_have_blanks_and_newlines_around_it) {
  const std::string text = to_text(good_token());
  for (const std::string& around : {text + "\n", text + "\r\n", "  \t" + text + " ", "\n\n" + text + "\n\n"})
    EXPECT_EQ(parse_join_token(around).value(), good_token());
}

TEST(JoinToken, with_a_bit_changed_is_malformed_or_another_one) {
  const std::string text = to_text(good_token());
  for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string changed = text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    if (verdict(changed) == "ok") {
      EXPECT_NE(parse_join_token(changed).value(), good_token()) << bit;
    }
  }
}

TEST(JoinToken, that_is_cut_off_is_malformed) {
  const std::string text = to_text(good_token());
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_NE(verdict(text.substr(0, size)), "ok") << size;
  for (std::size_t start = 1; start < text.size(); ++start) EXPECT_NE(verdict(text.substr(start)), "ok") << start;
}

TEST(JoinToken, that_is_malformed_is_refused_with_a_text_that_says_why) {
  const std::string text = to_text(good_token());
  const std::string other = "this is not a join token, which begins with culvert-join-1.";
  const std::vector<std::pair<std::string, std::string>> all{
      {"", "the join token is empty"},
      {" \n", "the join token is empty"},
      {"hello", other},
      {"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJl", other},
      {"-----BEGIN CERTIFICATE-----", other},
      {"Culvert-Join-1." + text.substr(prefix.size()), other},
      {"culvert-join-2." + text.substr(prefix.size()),
       "this join token is for a newer version of Culvert; update culvert-agent"},
      {"culvert-join-10.whatever", "this join token is for a newer version of Culvert; update culvert-agent"},
      {"culvert-join-0." + text.substr(prefix.size()), damaged},
      {"culvert-join-." + text.substr(prefix.size()), damaged},
      {"culvert-join-x." + text.substr(prefix.size()), damaged},
      {prefix, damaged},
      {prefix + ".", damaged},
      {text + "=", damaged},
      {text + "." + text, damaged},
      {text.substr(0, 80) + "\n" + text.substr(80),
       "the join token has blanks or line breaks inside; copy it as one line"},
      {text + " " + text, "the join token has blanks or line breaks inside; copy it as one line"},
      {text + std::string(1, '\0'), damaged},
      {prefix + std::string(9000, 'A'), "the join token is too long; is it the right text?"},
      {wrapped("{}"), damaged},
      {wrapped("[]"), damaged},
      {wrapped("1"), damaged},
      {wrapped(std::string(3000, '[')), damaged},
      {wrapped("\xff"), damaged},
  };
  for (const auto& [malformed, expected] : all) EXPECT_EQ(verdict(malformed), expected) << malformed.substr(0, 40);
}

TEST(JoinToken, with_a_wrong_inside_is_refused) {
  const std::string inside = inside_of(good_token());
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = inside;
    const std::size_t at = changed.find(from);
    EXPECT_NE(at, changed.npos) << from;
    changed.replace(at, from.size(), to);
    return wrapped(changed);
  };
  ASSERT_EQ(verdict(wrapped(inside)), "ok");
  const std::vector<std::pair<std::string, std::string>> changes{
      {R"({"a")", R"({ "a")"},                                   // another spelling
      {R"("i":)", R"("x":1,"i":)"},                              // an unknown key
      {R"("i":)", R"("i":"other","i":)"},                        // a key twice
      {R"("n":"tunnel.example",)", ""},                          // one is missing
      {R"("n":"tunnel.example")", R"("n":1)"},                   // of another type
      {R"("n":"tunnel.example")", R"("n":"tunnel.example:1")"},  // no name
      {R"("n":"tunnel.example")", R"("n":"TUNNEL.example")"},    // parses, and is spelled in another way
      {"tunnel.example:8443", "TUNNEL.example:8443"},
      {"tunnel.example:8443", "tunnel.example"},
      {"tunnel.example:8443", "user@tunnel.example:8443"},
      {"k3v9-Qx_2", ""},
      {"k3v9-Qx_2", std::string(33, 'i')},
      {"k3v9-Qx_2", "a b"},
      {"spiffe://", "https://"},
      {"agent/one", "agent/"},
      {"agent/one", "agent/one,URI:spiffe://other"},
      {"agent/one", "agent/" + std::string(2100, 'o')},
      {R"("p":")", R"("p":"AAAA)"},
      {R"("s":")", R"("s":"AAAA)"},
      {R"("s":")", R"("s":"=)"},
  };
  for (const auto& [from, to] : changes) EXPECT_EQ(verdict(replaced(from, to)), damaged) << to.substr(0, 60);
}

TEST(JoinToken, has_one_to_eight_addresses) {
  JoinToken token = good_token();
  token.addresses.assign(9, {"a.example", 443});
  EXPECT_EQ(verdict(to_text(token)), "the join token has 9 addresses; 8 are allowed");
  token.addresses.clear();
  EXPECT_EQ(verdict(to_text(token)), damaged);
}

TEST(JoinToken, secret_is_stored_as_its_digest) {
  protocol::TokenSecret secret{};
  std::string hex;
  for (const std::byte each : hash_of(secret)) hex += fmt::format("{:02x}", each);
  EXPECT_EQ(hex, "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");  // sha256sum of 32 zeros.
}

}  // namespace
}  // namespace culvert
