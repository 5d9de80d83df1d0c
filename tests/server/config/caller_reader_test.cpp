// SPDX-License-Identifier: Apache-2.0
#include "server/config/caller_reader.hpp"

#include <gtest/gtest.h>

#include "tests/testing/config_files.hpp"

namespace culvert::server {
namespace {

using testing::ConfigFiles;
using From = CallerSettings::Account;

const std::string smallest =  // NOLINT(bugprone-throwing-static-initialization)
    "[tunnel]\ncertificate = 'cert.pem'\nprivate_key = 'key.pem'\nclient_ca = 'ca.pem'\ntrust_domain = 'example.org'\n";
const std::string trust =  // NOLINT(bugprone-throwing-static-initialization)
    "trust = 'every client that can connect, without a token'\n";
const std::string issuer =  // NOLINT(bugprone-throwing-static-initialization)
    "[[http_proxy.issuer]]\nissuer = 'https://i'\njwks_file = 'cert.pem'\naudience = ['culvert']\n";

std::string faults_of(const std::string& table) {
  return ConfigFiles().faults_of(smallest + "[http_proxy]\n" + table,
                                 [](const auto& file) { return load_config(file); });
}

HttpProxySettings proxy_of(const std::string& table) {
  const ConfigFiles files;
  const auto config = load_config(files.write(smallest + "[http_proxy]\n" + table));
  EXPECT_TRUE(config) << config.error().text;
  return config ? config->http_proxy.value_or(HttpProxySettings{}) : HttpProxySettings{};
}

bool allows(const HttpProxySettings& proxy, const char* address) {
  return proxy.port.allow_from.allows(boost::asio::ip::make_address(address));
}

TEST(Callers, may_be_those_of_this_machine_or_of_named_networks) {
  const HttpProxySettings local = proxy_of("account = 'acme'\n");
  EXPECT_EQ(local.port.listen, (Endpoint{"127.0.0.1", 20003}));
  EXPECT_EQ(local.callers.account, "acme");
  EXPECT_FALSE(allows(local, "10.0.0.1"));
  const HttpProxySettings named = proxy_of("account = 'acme'\nlisten = '0.0.0.0:1'\nallow_from = ['10.0.0.0/8']\n");
  EXPECT_TRUE(allows(named, "10.0.0.1"));
  EXPECT_FALSE(allows(named, "11.0.0.1"));
  EXPECT_NE(faults_of("account = 'acme'\nlisten = '0.0.0.0:1'\n").find("add allow_from"), std::string::npos);
}

TEST(Callers, are_everybody_only_where_the_very_words_say_so) {
  const HttpProxySettings open = proxy_of("account = 'acme'\nlisten = '0.0.0.0:1'\n" + trust);
  EXPECT_TRUE(allows(open, "10.0.0.1"));
  EXPECT_TRUE(allows(open, "2001:db8::1"));
  EXPECT_FALSE(
      allows(proxy_of("account = 'acme'\nlisten = '0.0.0.0:1'\nallow_from = ['10.0.0.0/8']\n" + trust), "11.0.0.1"));
  for (const char* words :
       {"true", "'yes'", "'every client that can connect'", "'Every client that can connect, without a token'"})
    EXPECT_NE(faults_of(std::string("account = 'acme'\nlisten = '0.0.0.0:1'\ntrust = ") + words + "\n"), "") << words;
}

TEST(Callers, choose_the_account_only_where_they_are_trusted) {
  EXPECT_EQ(proxy_of("account_from = 'SAP-Connectivity-ConsumerAccount'\n" + trust).callers.account_from,
            From::consumer_field);
  const auto by_token =
      proxy_of("account_from = 'SAP-CP-Connectivity-Service-Token'\naccount_claim = '/zid'\n" + trust).callers;
  EXPECT_EQ(by_token.account_from, From::service_token);
  EXPECT_EQ(by_token.account_claim, "/zid");
  for (const char* listen : {"", "listen = '0.0.0.0:1'\nallow_from = ['10.0.0.0/8']\n"}) {
    EXPECT_NE(faults_of(std::string("account_from = 'SAP-Connectivity-ConsumerAccount'\n") + listen)
                  .find("lets each client choose the account"),
              std::string::npos);
  }
  for (const std::string& table :
       {trust, "account = 'a'\naccount_from = 'SAP-Connectivity-ConsumerAccount'\n" + trust,
        "account_from = 'SAP-CP-Connectivity-Service-Token'\n" + trust, "account_from = 'X-Account'\n" + trust,
        "account_from = 'SAP-Connectivity-ConsumerAccount'\naccount_claim = '/zid'\n" + trust,
        "account_from = 'SAP-CP-Connectivity-Service-Token'\naccount_claim = 'zid'\n" + trust})
    EXPECT_NE(faults_of(table), "") << table;
}

TEST(Callers, show_tokens_of_the_issuers) {
  const HttpProxySettings proxy =
      proxy_of("listen = '0.0.0.0:1'\n" + issuer +
               "account_claim = '/ext_attr/a~1b'\nclient_ids = ['c']\nsubjects = ['s']\n"
               "[[http_proxy.issuer]]\nissuer = 'two'\njwks_url = 'https://issuer:8443/keys?a=b'\nca = "
               "'ca.pem'\nsubjects = ['s']\naccount = 'acme'\n");
  ASSERT_EQ(proxy.callers.issuers.size(), 2u);
  const IssuerSettings& one = proxy.callers.issuers[0];
  EXPECT_EQ(one.issuer, "https://i");
  EXPECT_EQ(one.account_claim, "/ext_attr/a~1b");
  EXPECT_EQ(one.audience, std::vector<std::string>{"culvert"});
  EXPECT_EQ(one.client_ids, std::vector<std::string>{"c"});
  EXPECT_EQ(proxy.callers.issuers[1].jwks_url, "https://issuer:8443/keys?a=b");
  EXPECT_EQ(proxy.callers.issuers[1].account, "acme");
  EXPECT_TRUE(allows(proxy, "10.0.0.1")) << "the token guards the port";
  EXPECT_EQ(proxy_of("account = 'acme'\n" + issuer).callers.issuers[0].account, "acme");
}

TEST(Callers, report_what_is_wrong_with_an_issuer) {
  const auto with = [](const std::string& lines) { return faults_of("[[http_proxy.issuer]]\nissuer = 'i'\n" + lines); };
  const std::string right = "jwks_file = 'cert.pem'\naudience = ['a']\naccount = 'acme'\n";
  EXPECT_EQ(with(right), "");
  EXPECT_NE(with("jwks_file = 'cert.pem'\naccount = 'acme'\n").find("add audience, client_ids or subjects"),
            std::string::npos);
  EXPECT_NE(with("jwks_file = 'cert.pem'\naudience = ['a']\n").find("either account or account_claim"),
            std::string::npos);
  for (const std::string& lines :
       {right + "account_claim = '/zid'\n", right + "jwks_url = 'https://i/'\n", right + "ca = 'ca.pem'\n",
        std::string("audience = ['a']\naccount = 'acme'\n"),
        std::string("jwks_file = 'cert.pem'\naudience = []\naccount = 'acme'\n"),
        std::string("jwks_url = 'http://issuer/keys'\naudience = ['a']\naccount = 'acme'\n"),
        std::string("jwks_url = 'ftp://issuer/keys'\naudience = ['a']\naccount = 'acme'\n"),
        std::string("jwks_url = 'https://user@issuer/keys'\naudience = ['a']\naccount = 'acme'\n"),
        std::string("jwks_url = 'https://issuer/keys#x'\naudience = ['a']\naccount = 'acme'\n"),
        std::string("jwks_file = 'none.json'\naudience = ['a']\naccount = 'acme'\n"),
        std::string(right).append("[[http_proxy.issuer]]\nissuer = 'i'\n").append(right)})
    EXPECT_NE(with(lines), "") << lines;
  EXPECT_NE(faults_of("account = 'a'\n[[http_proxy.issuer]]\nissuer = 'i'\n" + right), "") << "two accounts";
  EXPECT_NE(faults_of(trust + "[[http_proxy.issuer]]\nissuer = 'i'\n" + right), "") << "trust and a check";
  EXPECT_NE(
      faults_of("account_from = 'SAP-Connectivity-ConsumerAccount'\n[[http_proxy.issuer]]\nissuer = 'i'\n" + right),
      "");
}

}  // namespace
}  // namespace culvert::server
