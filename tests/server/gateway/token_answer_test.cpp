// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/token_answer.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using std::chrono::seconds;

/// The answer with one more member.
std::string answer_with(const std::string& member) {
  return R"({"access_token":"t0k.en-_~+/==")" + (member.empty() ? "" : "," + member) + "}";
}

TEST(TokenAnswer, gives_the_token_and_how_long_it_lasts) {
  struct Row {
    std::string member;
    int lifetime;
  };
  for (const auto& [member, lifetime] :
       {Row{"", 300}, Row{R"("expires_in":3600)", 3600}, Row{R"("expires_in":"3600")", 3600},
        Row{R"("expires_in":0)", 0}, Row{R"("expires_in":59.9)", 59}, Row{R"("expires_in":86400)", 86'400},
        Row{R"("expires_in":86401)", 86'400}, Row{R"("expires_in":18446744073709551615)", 86'400},
        Row{R"("expires_in":1e300)", 86'400}, Row{R"("expires_in":"99999999999999999999999")", 86'400},
        Row{R"("expires_in":null)", 300}, Row{R"("token_type":"bearer","scope":"a b","x":{"y":[1]})", 300},
        Row{R"("token_type":"BEARER")", 300}, Row{R"("token_type":null)", 300}}) {
    const auto token = read_token_answer(200, answer_with(member));
    ASSERT_TRUE(token) << member << ": " << token.error().text;
    EXPECT_EQ(token->text, "t0k.en-_~+/==");
    EXPECT_EQ(token->lifetime, seconds(lifetime)) << member;
  }
  EXPECT_TRUE(read_token_answer(201, answer_with("")));
}

TEST(TokenAnswer, an_unusable_one_is_refused_without_its_content) {
  const std::string canary = "c4n4ry";
  for (const std::string& body : std::vector<std::string>{std::string(),
                                                          canary,
                                                          R"({"access_token":")" + canary + R"( x"})",
                                                          R"({"access_token":""})",
                                                          R"({"access_token":"=="})",
                                                          R"({"access_token":"c4n4ry=x"})",
                                                          R"({"access_token":"c4n4ry\r\nX: y"})",
                                                          R"({"access_token":["c4n4ry"]})",
                                                          R"({"access_token":null})",
                                                          R"({"token":"c4n4ry"})",
                                                          R"(["c4n4ry"])",
                                                          R"({"access_token":"c4n4ry","access_token":"c4n4ry"})",
                                                          answer_with(R"("token_type":"mac c4n4ry")"),
                                                          answer_with(R"("token_type":7)"),
                                                          answer_with(R"("expires_in":-1)"),
                                                          answer_with(R"("expires_in":-0.5)"),
                                                          answer_with(R"("expires_in":"")"),
                                                          answer_with(R"("expires_in":"60 c4n4ry")"),
                                                          answer_with(R"("expires_in":"-1")"),
                                                          answer_with(R"("expires_in":true)"),
                                                          answer_with("") + canary}) {
    const auto token = read_token_answer(200, body);
    ASSERT_FALSE(token) << body;
    EXPECT_EQ(token.error().code, "gateway.token_failed") << body;
    EXPECT_TRUE(token.error().text.starts_with("the token service answered 200, ")) << token.error().text;
    EXPECT_FALSE(token.error().text.contains(canary)) << token.error().text;
  }
}

TEST(TokenAnswer, the_word_of_an_error_is_shown_and_nothing_else) {
  struct Row {
    int status;
    std::string_view body;
    std::string_view text;
  };
  for (const auto& [status, body, text] : {
           Row{401, R"({"error":"invalid_client","error_description":"secret c4n4ry"})",
               R"(the token service answered 401, error "invalid_client")"},
           Row{400, R"({"error":"x y!"})", R"(the token service answered 400, error "x y!")"},
           Row{200, R"({"error":"bad_verification_code"})",
               R"(the token service answered 200, error "bad_verification_code")"},
           Row{503, "<html>c4n4ry</html>", "the token service answered 503, without an error code of OAuth 2.0"},
           Row{400, R"({"error":"c4n4ry\n"})", "the token service answered 400, without an error code of OAuth 2.0"},
           Row{400, R"({"error":"c4n4ry\""})", "the token service answered 400, without an error code of OAuth 2.0"},
           Row{400, R"({"error":"c4n4r\u00ff"})", "the token service answered 400, without an error code of OAuth 2.0"},
           Row{400, R"({"error":""})", "the token service answered 400, without an error code of OAuth 2.0"},
           Row{400, R"({"access_token":"c4n4ry"})",
               "the token service answered 400, without an error code of OAuth 2.0"},
           Row{302, "", "the token service answered 302, without an error code of OAuth 2.0"},
       }) {
    const auto token = read_token_answer(status, body);
    ASSERT_FALSE(token) << body;
    EXPECT_EQ(token.error().code, "gateway.token_failed");
    EXPECT_EQ(token.error().text, text);
  }
  const auto error_of_size = [](std::size_t size) {
    return read_token_answer(400, R"({"error":")" + std::string(size, 'e') + R"("})").error().text;
  };
  EXPECT_TRUE(error_of_size(64).contains("eee"));
  EXPECT_FALSE(error_of_size(65).contains("eee"));
}

TEST(TokenAnswer, sizes_are_limited) {
  const auto token_of_size = [](std::size_t size) {
    return read_token_answer(200, R"({"access_token":")" + std::string(size, 'a') + R"("})");
  };
  EXPECT_TRUE(token_of_size(access_token_bytes_max));
  EXPECT_FALSE(token_of_size(access_token_bytes_max + 1));
  const std::string answer = answer_with("");
  EXPECT_TRUE(read_token_answer(200, answer + std::string(token_answer_bytes_max - answer.size(), ' ')));
  EXPECT_FALSE(read_token_answer(200, answer + std::string(token_answer_bytes_max - answer.size() + 1, ' ')));
}

TEST(ClientForm, is_encoded_as_a_form) {
  EXPECT_EQ(form_encoded("aZ09-._"), "aZ09-._");
  EXPECT_EQ(form_encoded("a b+c&d=e%~\n\xc3\xa9"), "a+b%2Bc%26d%3De%25%7E%0A%C3%A9");
  EXPECT_EQ(form_encoded(std::string_view("\0", 1)), "%00");
  const FormField fields[] = {
      {"grant_type", "client_credentials"}, {"client_id", "a:b"}, {"client_secret", ""}, {"scope", "read write"}};
  EXPECT_EQ(client_form(fields), "grant_type=client_credentials&client_id=a%3Ab&scope=read+write");
  EXPECT_EQ(client_form({}), "");
}

}  // namespace
}  // namespace culvert::server
