// SPDX-License-Identifier: Apache-2.0
#include "server/auth/caller_check.hpp"

#include <future>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/testing/tokens.hpp"

namespace culvert::server {
namespace {

using From = CallerSettings::Account;

/// A question to the rules, on a worker that runs.
class CallerCheckTest : public ::testing::Test {
 protected:
  CallerCheckTest() { worker.start(); }
  ~CallerCheckTest() override {
    passwords.close();
    worker.stop();
    worker.join();
  }

  /// "account/location", or the flaw's code; "-" where the caller is not told.
  std::string ask(CallerRules rules, CallerCredentials credentials, std::string location = "") {
    std::promise<std::string> answered;
    const CallerQuestion question{std::move(credentials), std::move(location),
                                  boost::asio::ip::make_address("127.0.0.1")};
    ask_by(std::move(rules), passwords)(worker, question, [&](std::expected<Caller, CallerFlaw> verdict) {
      if (!verdict) return answered.set_value(verdict.error() != nullptr ? std::string(verdict.error()->code) : "-");
      caller = *verdict;
      answered.set_value(verdict->route.key());
    });
    return answered.get_future().get();
  }

  Worker worker{0};
  PasswordChecker passwords;
  Caller caller;
};

TEST_F(CallerCheckTest, without_credentials_only_the_ports_own_account_is_reached) {
  EXPECT_EQ(ask({.open_account = "acme"}, NoCredentials{}, "plant"), "acme/plant");
  EXPECT_EQ(ask({}, NoCredentials{}), "request.token_missing");
}

TEST_F(CallerCheckTest, a_named_account_counts_only_where_callers_are_trusted) {
  EXPECT_EQ(ask({.trusts_named_accounts = true}, NamedAccount{"acme"}), "acme/");
  EXPECT_EQ(ask({.trusts_named_accounts = true}, NamedAccount{"a/b"}), "request.no_account");
  EXPECT_EQ(ask({.open_account = "acme"}, NamedAccount{"other"}), "request.no_account");
}

TEST_F(CallerCheckTest, an_unverified_token_counts_only_where_a_claim_is_named) {
  const std::string token = testing::base64url(R"({"alg":"RS256"})") + "." + testing::base64url(R"({"zid":"acme"})") +
                            "." + testing::base64url("x");
  EXPECT_EQ(ask({.account_claim = "/zid"}, UnverifiedToken{token}), "acme/");
  EXPECT_EQ(ask({.account_claim = "/none"}, UnverifiedToken{token}), "request.no_account");
  EXPECT_EQ(ask({.account_claim = "/zid"}, UnverifiedToken{"x"}), "request.token_malformed");
  EXPECT_EQ(ask({}, UnverifiedToken{token}), "request.no_account");
}

TEST_F(CallerCheckTest, a_signed_token_counts_only_where_there_are_issuers) {
  EXPECT_EQ(ask({.open_account = "acme"}, SignedToken{"x"}), "-");
  auto tokens = std::make_shared<TokenCheck>(std::vector<TokenIssuer>(), 1);
  EXPECT_EQ(ask({.tokens = tokens}, SignedToken{"x"}), "request.token_malformed");
}

TEST_F(CallerCheckTest, a_password_leads_to_its_consumers_virtual_hosts_and_no_others) {
  Socks5Consumer consumer;
  consumer.account = "acme";
  consumer.locations = {"", "plant"};
  consumer.virtual_hosts = {{"erp", 443}};
  consumer.secret = SecretHash::of("right").value();
  const CallerRules rules{
      .consumers = std::make_shared<const std::vector<Socks5Consumer>>(std::vector<Socks5Consumer>{consumer})};
  EXPECT_EQ(ask(rules, Password{"acme/plant", "right"}), "acme/plant");
  EXPECT_TRUE(caller.may_reach({"erp", 443}));
  EXPECT_FALSE(caller.may_reach({"erp", 80}));
  EXPECT_EQ(ask(rules, Password{"acme/plant", "wrong"}), "-");
  EXPECT_EQ(ask(rules, Password{"acme/other", "right"}), "-");
  EXPECT_EQ(ask({.open_account = "acme"}, Password{"acme", "right"}), "-") << "this port has no consumers";
}

TEST_F(CallerCheckTest, with_issuers_no_account_comes_from_elsewhere) {
  CallerSettings settings;
  settings.account = "acme";
  auto tokens = std::make_shared<TokenCheck>(std::vector<TokenIssuer>(), 1);
  for (const From from : {From::fixed, From::consumer_field, From::service_token}) {
    settings.account_from = from;
    settings.account_claim = "/zid";
    const CallerRules rules = rules_of(settings, tokens);
    EXPECT_EQ(ask(rules, NoCredentials{}), "request.token_missing");
    EXPECT_EQ(ask(rules, NamedAccount{"acme"}), "request.no_account");
    EXPECT_EQ(ask(rules, UnverifiedToken{"x.y.z"}), "request.no_account");
  }
}

}  // namespace
}  // namespace culvert::server
