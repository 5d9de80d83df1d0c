// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/socks5.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using namespace std::string_literals;
using Step = Socks5::Step;

constexpr Socks5::Methods all{.none = true, .password = true, .token = true};
constexpr Socks5::Methods none{.none = true};
constexpr Socks5::Methods password{.password = true};
constexpr Socks5::Methods token{.token = true};

/// Outcome of a negotiation.
struct Outcome {
  std::string sent;
  std::string steps;  ///< One letter for each step except need_more: p, t, c or r.
  std::string user, secret, location, target, why;
  std::size_t taken = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Drives a negotiation like the proxy, in slices of at most `slice` bytes, with one more boundary at `cut`.
Outcome negotiate(Socks5::Methods offered, std::string_view input, std::size_t slice = 4096, std::size_t cut = 0,
                  bool verdict = true) {
  Socks5 negotiation(offered);
  Outcome outcome;
  while (outcome.taken < input.size() && negotiation.wanted() > 0) {
    std::size_t size = std::min({input.size() - outcome.taken, negotiation.wanted(), slice});
    if (outcome.taken < cut) size = std::min(size, cut - outcome.taken);
    Step step = negotiation.feed(std::as_bytes(std::span(input.substr(outcome.taken, size))));
    outcome.taken += size;
    outcome.sent += negotiation.next_output();
    if (step == Step::check_password || step == Step::check_token) {
      outcome.steps += step == Step::check_password ? 'p' : 't';
      outcome.user = negotiation.user();
      outcome.secret = negotiation.secret();
      outcome.location = negotiation.location();
      step = negotiation.verdict(verdict);
      EXPECT_EQ(negotiation.secret(), "") << "wiped";
      outcome.sent += negotiation.next_output();
    }
    if (step == Step::connect) {
      outcome.steps += 'c';
      outcome.target = to_string(negotiation.target());
      negotiation.reply(Socks5Reply::refused);
      outcome.sent += negotiation.next_output();
    }
    if (step == Step::refused) {
      outcome.steps += 'r';
      outcome.why = negotiation.why();
    }
  }
  return outcome;
}

std::string reply_of(int code) {
  return "\5"s + static_cast<char>(code) + "\0\1\0\0\0\0\0\0"s;
}

const std::string connect_erp = "\5\1\0\3\3ERP\1\273"s;

TEST(Socks5, negotiates_without_a_login) {
  const Outcome outcome = negotiate(none, "\5\2\0\1"s + connect_erp + "early");
  EXPECT_EQ(outcome.sent, "\5\0"s + reply_of(5));
  EXPECT_EQ(outcome.steps, "c");
  EXPECT_EQ(outcome.target, "erp:443");
  EXPECT_EQ(outcome.taken, 4 + connect_erp.size()) << "what is behind the request is the stream's";
}

TEST(Socks5, uses_the_strongest_method_that_both_know) {
  for (const auto& [offered, methods, chosen] :
       std::vector<std::tuple<Socks5::Methods, std::string, char>>{{all, "\0\2\x80"s, '\x80'},
                                                                   {all, "\x80\2\0"s, '\x80'},
                                                                   {all, "\0\2"s, '\2'},
                                                                   {all, "\0\1"s, '\0'},
                                                                   {all, "\1\3"s, '\xff'},
                                                                   {password, "\0"s, '\xff'},
                                                                   {none, "\2\x80"s, '\xff'},
                                                                   {token, "\0\2"s, '\xff'},
                                                                   {password, "\0\2\x80"s, '\2'},
                                                                   {none, std::string(255, '\0'), '\0'},
                                                                   {none, "", '\xff'}}) {
    const Outcome outcome = negotiate(offered, "\5"s + static_cast<char>(methods.size()) + methods);
    EXPECT_EQ(outcome.sent, "\5"s + chosen) << ::testing::PrintToString(methods);
    EXPECT_EQ(outcome.why, chosen == '\xff' ? "no_method" : "");
  }
}

TEST(Socks5, asks_to_check_a_password) {
  const std::string login = "\5\1\2\1\6acme/x\6s3cret"s;
  Outcome outcome = negotiate(password, login + connect_erp);
  EXPECT_EQ(outcome.sent, "\5\2\1\0"s + reply_of(5));
  EXPECT_EQ(outcome.steps, "pc");
  EXPECT_EQ(outcome.user, "acme/x");
  EXPECT_EQ(outcome.secret, "s3cret");
  outcome = negotiate(password, login + connect_erp, 4096, 0, false);
  EXPECT_EQ(outcome.sent, "\5\2\1\1"s);
  EXPECT_EQ(outcome.steps, "pr");
  EXPECT_EQ(outcome.taken, login.size());
  const std::string longest = "\5\1\2\1\377"s + std::string(255, 'u') + "\377"s + std::string(255, 'p');
  outcome = negotiate(password, longest + connect_erp);
  EXPECT_EQ(outcome.user + outcome.secret, std::string(255, 'u') + std::string(255, 'p'));
  EXPECT_EQ(outcome.steps, "pc");
  EXPECT_EQ(negotiate(password, "\5\1\2\1\0\1x"s).user, "");
  EXPECT_EQ(negotiate(password, "\5\1\2\1\1u\0"s).sent, "\5\2\1\1"s) << "no password is none";
  EXPECT_EQ(negotiate(password, "\5\1\2\2\1u\1p"s).sent, "\5\2\1\1"s) << "the version of the login is 1";
}

TEST(Socks5, takes_an_empty_password_for_no_login_where_none_is_needed) {
  constexpr Socks5::Methods open{.none = true, .password = true};
  const std::string java = "\5\2\0\2\1\4root\0"s;
  const Outcome outcome = negotiate(open, java + connect_erp);
  EXPECT_EQ(outcome.sent, "\5\2\1\0"s + reply_of(5));
  EXPECT_EQ(outcome.steps, "c") << "there is nothing to check";
  EXPECT_EQ(outcome.target, "erp:443");
  EXPECT_EQ(negotiate(open, "\5\1\2\1\0\0"s + connect_erp).target, "erp:443") << "a name may be empty, too";
  EXPECT_EQ(negotiate(open, "\5\2\0\2\1\4root\1x"s, 4096, 0, false).steps, "pr") << "any other password is checked";
  EXPECT_EQ(negotiate(password, java).steps, "r") << "a login is needed";
}

std::string token_login(const std::string& jwt, const std::string& location) {
  const auto size = static_cast<std::uint32_t>(jwt.size());
  std::string text = "\5\1\x80\1"s;
  for (const int shift : {24, 16, 8, 0}) text += static_cast<char>(size >> shift & 0xff);
  return text + jwt + static_cast<char>(location.size()) + location;
}

TEST(Socks5, asks_to_check_a_token_and_its_location) {
  const std::string jwt(4096, 'j');
  Outcome outcome = negotiate(token, token_login(jwt, "cGxhbnQtMQ==") + connect_erp);
  EXPECT_EQ(outcome.sent, "\5\x80\1\0"s + reply_of(4)) << "5 would be a failed authentication";
  EXPECT_EQ(outcome.steps, "tc");
  EXPECT_EQ(outcome.secret, jwt);
  EXPECT_EQ(outcome.location, "plant-1");
  EXPECT_EQ(negotiate(token, token_login(jwt, "") + connect_erp).location, "");
  EXPECT_EQ(negotiate(token, token_login(jwt, ""), 4096, 0, false).sent, "\5\x80\1\1"s);
  EXPECT_EQ(negotiate(token, token_login(std::string(8192, 'j'), "") + connect_erp).steps, "tc");
  for (const std::string& bad : {"\5\1\x80\1\0\0\40\1"s, "\5\1\x80\1\377\377\377\377"s, "\5\1\x80\1\0\0\0\0"s,
                                 "\5\1\x80\5\0\0\0\1"s, token_login("j", "cGxhbnQtMQ="), token_login("j", "!!!!"),
                                 token_login("j", "c==="), token_login("j", "====")}) {
    outcome = negotiate(token, bad);
    EXPECT_EQ(outcome.sent, "\5\x80\1\1"s);
    EXPECT_EQ(outcome.steps, "r");
  }
}

TEST(Socks5, reads_every_kind_of_address) {
  for (const auto& [address, target] : std::vector<std::pair<std::string, std::string>>{
           {"\1\12\0\0\1\0\120"s, "10.0.0.1:80"},
           {"\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x1f\x90"s, "[2001:db8::1]:8080"},
           {"\3\10Db.Local\0\1"s, "db.local:1"},
           {"\3\4erp.\1\273"s, "erp:443"},
           {"\3\0111.2.3.4.5\1\273"s, ""},
           {"\3\7"
            "1.2.3.4\1\273"s,
            "1.2.3.4:443"},
           {"\3\3::1\1\273"s, "[::1]:443"},
           {"\3\15[2001:DB8::1]\1\273"s, "[2001:db8::1]:443"},
           {"\3\17"
            "2001:db8:0:0::1\1\273"s,
            "[2001:db8::1]:443"},
           {"\3\17::ffff:10.1.2.3\1\273"s, "10.1.2.3:443"},
           {"\3\21[::ffff:10.1.2.3]\1\273"s, "10.1.2.3:443"},
           {"\4\0\0\0\0\0\0\0\0\0\0\377\377\12\1\2\3\1\273"s, "10.1.2.3:443"},
           {"\3\12[10.1.2.3]\1\273"s, ""},
           {"\3\5[erp]\1\273"s, ""},
           {"\3\1[\1\273"s, ""},
           {"\3\2[]\1\273"s, ""},
           {"\3\7[[::1]]\1\273"s, ""},
           {"\3\11"
            "010.1.2.3\1\273"s,
            ""},
           {"\3\12"
            "0x0a010203\1\273"s,
            ""},
           {"\3\6"
            "10.258\1\273"s,
            ""},
           {"\3\0\1\273"s, ""},
           {"\3\3a\0b\1\273"s, ""},
           {"\3\3a b\1\273"s, ""},
           {"\3\5"
            "127.1\1\273"s,
            ""},
           {"\3\4"
            "0x7f\1\273"s,
            ""},
           {"\3\377"s + std::string(255, 'a') + "\1\273"s, ""},
           {"\3\3erp\0\0"s, ""},
           {"\1\12\0\0\1\0\0"s, ""}}) {
    const Outcome outcome = negotiate(none, "\5\1\0\5\1\0"s + address);
    EXPECT_EQ(outcome.target, target);
    EXPECT_EQ(outcome.sent, "\5\0"s + reply_of(target.empty() ? 2 : 5)) << ::testing::PrintToString(address);
  }
}

TEST(Socks5, refuses_what_it_does_not_know) {
  for (const auto& [request, code] : std::vector<std::pair<std::string, int>>{{"\5\2\0\1"s, 7},
                                                                              {"\5\3\0\3"s, 7},
                                                                              {"\5\0\0\1"s, 7},
                                                                              {"\5\1\0\2"s, 8},
                                                                              {"\5\1\0\0"s, 8},
                                                                              {"\4\1\0\1"s, 1},
                                                                              {"\5\1\1\1"s, 1}}) {
    const Outcome outcome = negotiate(none, "\5\1\0"s + request + "rest"s);
    EXPECT_EQ(outcome.sent, "\5\0"s + reply_of(code));
    EXPECT_EQ(outcome.steps, "r");
    EXPECT_EQ(outcome.taken, 7u);
  }
  for (const std::string& stranger : {"\4\1\0\120\1\2\3\4\0"s, "GET / HTTP/1.1\r\n"s, "\x16\3\1\2\0"s}) {
    const Outcome outcome = negotiate(all, stranger);
    EXPECT_EQ(outcome.sent, "");
    EXPECT_EQ(outcome.why, "version");
  }
}

TEST(Socks5, gives_the_same_result_for_any_boundaries_of_its_input) {
  for (const std::string& input :
       {"\5\3\0\1\2"s + "\1\6acme/x\6s3cret"s + connect_erp, "\5\2\0\2\1\4root\0"s + connect_erp,
        token_login("a.b.c", "cGxhbnQtMQ==") + connect_erp, "\5\1\0"s + connect_erp + "early",
        "\5\1\0\5\1\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x1f\x90"s, "\4\1\0\120\1\2\3\4\0"s, "\5\1\7"s,
        token_login("a", "bad")}) {
    const Outcome whole = negotiate(all, input);
    for (std::size_t at = 1; at < input.size(); ++at) {
      EXPECT_EQ(negotiate(all, input, 4096, at), whole) << at;
      EXPECT_EQ(negotiate(all, input, at), whole) << at;
    }
  }
}

TEST(Socks5, has_a_reply_for_each_refusal_of_the_agent) {
  using enum protocol::Reason;
  for (const auto& [reason, reply] :
       std::vector<std::pair<protocol::Reason, Socks5Reply>>{{not_exposed, Socks5Reply::not_allowed},
                                                             {target_refused, Socks5Reply::refused},
                                                             {target_unreachable, Socks5Reply::unreachable},
                                                             {target_timed_out, Socks5Reply::unreachable},
                                                             {target_name_unknown, Socks5Reply::unreachable},
                                                             {target_tls_failed, Socks5Reply::unreachable},
                                                             {no_agent, Socks5Reply::no_agent},
                                                             {overloaded, Socks5Reply::failed},
                                                             {draining, Socks5Reply::failed},
                                                             {tunnel_lost, Socks5Reply::failed}}) {
    EXPECT_EQ(socks5_reply_of(reason), reply) << protocol::to_string(reason);
  }
}

}  // namespace
}  // namespace culvert::server
