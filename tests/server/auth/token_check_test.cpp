// SPDX-License-Identifier: Apache-2.0
#include "server/auth/token_check.hpp"

#include <gtest/gtest.h>

#include "tests/testing/temporary_directory.hpp"
#include "tests/testing/tokens.hpp"

namespace culvert::server {
namespace {

using testing::base64url;
using testing::SigningKey;
using Time = TokenCheck::Time;

const Time now{std::chrono::seconds(1'800'000'000)};  // NOLINT(bugprone-throwing-static-initialization)

/// Made once, since RSA keys take long to make.
const SigningKey& rsa_key() {
  static const SigningKey key = SigningKey::rsa("r1");
  return key;
}
const SigningKey& ec_key() {
  static const SigningKey key = SigningKey::ec("e1");
  return key;
}

/// Valid "iss", "aud", "client_id" and "exp", then `more`: members that begin with a comma.
std::string claims(std::string_view more = R"(,"zid":"acme")", std::string_view exp = "1800000060") {
  return R"({"iss":"https://issuer","aud":["other","culvert"],"client_id":"c1","exp":)" + std::string(exp) +
         std::string(more) + "}";
}

/// A check with one issuer, whose keys come from a file.
struct Checked {
  explicit Checked(IssuerSettings changed = {},
                   const std::vector<std::string>& keys = {rsa_key().jwk(), ec_key().jwk()}) {
    settings.issuer = "https://issuer";
    settings.jwks_file = folder.write("jwks.json", testing::jwks(keys));
    settings.audience = {"culvert"};
    settings.client_ids = std::move(changed.client_ids);
    settings.subjects = std::move(changed.subjects);
    settings.account = std::move(changed.account);
    settings.account_claim = changed.account_claim.empty() ? "/zid" : changed.account_claim;
    check = std::make_unique<TokenCheck>(std::vector<TokenIssuer>{{settings, IssuerKeys::load(settings).value()}}, 2);
  }
  /// Returns the account, or the flaw's code.
  std::string ask(std::string_view token, Time when = now, std::size_t worker = 0) {
    const auto bearer = check->bearer_of(token, worker, when);
    return bearer ? bearer->account : std::string(bearer.error()->code);
  }

  testing::TemporaryDirectory folder;
  IssuerSettings settings;
  std::unique_ptr<TokenCheck> check;
};

TEST(TokenCheck, takes_a_token_of_each_algorithm) {
  Checked checked;
  EXPECT_EQ(checked.ask(rsa_key().sign("RS256", claims())), "acme");
  EXPECT_EQ(checked.ask(rsa_key().sign("PS256", claims())), "acme");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", claims())), "acme");
}

TEST(TokenCheck, refuses_every_other_algorithm) {
  Checked checked;
  for (const char* name : {"none", "HS256"})
    EXPECT_EQ(checked.ask(rsa_key().sign(name, claims())), "request.token_algorithm") << name;
  for (const char* header : {R"({"alg":"None","kid":"r1"})", R"({"alg":"RS512","kid":"r1"})", R"({"kid":"r1"})",
                             R"({"alg":"RS256\u0000","kid":"r1"})", R"({"alg":["RS256"],"kid":"r1"})",
                             R"({"alg":"RS256","kid":"r1","crit":["b64"],"b64":false})"})
    EXPECT_EQ(checked.ask(rsa_key().sign("RS256", header, claims())), "request.token_algorithm") << header;
}

TEST(TokenCheck, never_mixes_a_key_with_the_algorithm_of_another_kind) {
  Checked checked;
  EXPECT_EQ(checked.ask(rsa_key().sign("RS256", R"({"alg":"ES256","kid":"r1"})", claims())),
            "request.token_unknown_key");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", R"({"alg":"RS256","kid":"e1"})", claims())),
            "request.token_unknown_key");
  EXPECT_EQ(checked.ask(rsa_key().sign("PS256", R"({"alg":"RS256","kid":"r1"})", claims())),
            "request.token_bad_signature");
  Checked only_rs256({}, {rsa_key().jwk(R"(,"alg":"RS256")")});
  EXPECT_EQ(only_rs256.ask(rsa_key().sign("RS256", claims())), "acme");
  EXPECT_EQ(only_rs256.ask(rsa_key().sign("PS256", claims())), "request.token_unknown_key");
}

TEST(TokenCheck, refuses_a_wrong_signature) {
  Checked checked;
  static const SigningKey other = SigningKey::ec("e1");
  EXPECT_EQ(checked.ask(other.sign("ES256", claims())), "request.token_bad_signature");
  const std::string good = ec_key().sign("ES256", claims());
  const std::string evil = ec_key().sign("ES256", claims(R"(,"zid":"evil")"));
  const std::string mixed = evil.substr(0, evil.rfind('.')) + good.substr(good.rfind('.'));
  EXPECT_EQ(checked.ask(mixed), "request.token_bad_signature");
  EXPECT_EQ(checked.ask(good.substr(0, good.rfind('.') + 1)), "request.token_malformed");
  // A token must not have an ECDSA signature in DER form.
  EXPECT_EQ(checked.ask(good.substr(0, good.rfind('.') + 1) + base64url("0123")), "request.token_bad_signature");
}

TEST(TokenCheck, knows_a_key_by_its_id_and_by_nothing_else) {
  Checked checked;
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", R"({"alg":"ES256","kid":"e2"})", claims())),
            "request.token_unknown_key");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", R"({"alg":"ES256"})", claims())), "acme") << "the only one of its kind";
  const SigningKey second = SigningKey::ec("e2");
  Checked two({}, {ec_key().jwk(), second.jwk()});
  EXPECT_EQ(two.ask(ec_key().sign("ES256", R"({"alg":"ES256"})", claims())), "request.token_unknown_key");
  EXPECT_EQ(two.ask(second.sign("ES256", claims())), "acme");
}

TEST(TokenCheck, holds_the_token_to_its_dates) {
  Checked checked;
  const auto at = [&](std::string_view more, std::string_view exp) {
    return checked.ask(ec_key().sign("ES256", claims(std::string(R"(,"zid":"acme")") + std::string(more), exp)));
  };
  EXPECT_EQ(at("", "1800000001"), "acme");
  EXPECT_EQ(at("", "1800000000.5"), "acme");
  EXPECT_EQ(at("", "1800000000"), "request.token_expired") << "no leeway";
  EXPECT_EQ(at("", "\"1900000000\""), "request.token_expired") << "not a number";
  EXPECT_EQ(at("", "null"), "request.token_expired");
  EXPECT_EQ(at("", "0e00871"), "request.token_expired") << "not a number after all";
  EXPECT_EQ(at("", "1e999"), "request.token_expired");
  EXPECT_EQ(at(R"(,"nbf":1800000300)", "1800009999"), "acme") << "5 minutes of leeway";
  EXPECT_EQ(at(R"(,"nbf":1800000301)", "1800009999"), "request.token_not_yet_valid");
  EXPECT_EQ(at(R"(,"nbf":"soon")", "1800009999"), "request.token_not_yet_valid");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", R"({"iss":"https://issuer","aud":"culvert","zid":"acme"})")),
            "request.token_expired")
      << "without exp";
}

TEST(TokenCheck, takes_the_configured_issuer_only) {
  Checked checked;
  for (const char* issuer : {R"("https://issuer/")", R"("https://other")", R"(["https://issuer"])", "null"}) {
    EXPECT_EQ(checked.ask(ec_key().sign(
                  "ES256", std::string(R"({"exp":1900000000,"aud":"culvert","zid":"a","iss":)") + issuer + "}")),
              "request.token_wrong_issuer");
  }
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", R"({"exp":1900000000,"aud":"culvert","zid":"a"})")),
            "request.token_wrong_issuer");
}

TEST(TokenCheck, takes_the_configured_audience_only) {
  Checked checked;
  for (const char* audience : {R"("other")", R"([])", R"(["other"])", R"([["culvert"]])", "1", "null"}) {
    EXPECT_EQ(
        checked.ask(ec_key().sign(
            "ES256", std::string(R"({"iss":"https://issuer","exp":1900000000,"zid":"a","aud":)") + audience + "}")),
        "request.token_wrong_audience")
        << audience;
  }
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", R"({"iss":"https://issuer","exp":1900000000,"zid":"a"})")),
            "request.token_wrong_audience");
  EXPECT_EQ(
      checked.ask(ec_key().sign("ES256", R"({"iss":"https://issuer","exp":1900000000,"zid":"a","aud":"culvert"})")),
      "a");
}

TEST(TokenCheck, takes_the_configured_clients_only) {
  Checked checked({.client_ids = {"c1", "c2"}});
  const auto with = [&](std::string_view more) {
    return checked.ask(ec_key().sign(
        "ES256", R"({"iss":"https://issuer","exp":1900000000,"zid":"a","aud":"culvert")" + std::string(more) + "}"));
  };
  EXPECT_EQ(with(R"(,"client_id":"c1")"), "a");
  EXPECT_EQ(with(R"(,"azp":"c2")"), "a");
  EXPECT_EQ(with(R"(,"cid":"c1")"), "a");
  EXPECT_EQ(with(R"(,"cid":"c1","azp":"c2")"), "a");
  EXPECT_EQ(with(""), "request.token_wrong_client");
  EXPECT_EQ(with(R"(,"client_id":"c3")"), "request.token_wrong_client");
  EXPECT_EQ(with(R"(,"client_id":"c1","azp":"c3")"), "request.token_wrong_client") << "each that is there counts";
  EXPECT_EQ(with(R"(,"client_id":["c1"])"), "request.token_wrong_client");
}

TEST(TokenCheck, takes_the_configured_subjects_only) {
  Checked checked({.subjects = {"system:serviceaccount:shop:web"}});
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", claims(R"(,"zid":"a","sub":"system:serviceaccount:shop:web")"))), "a");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", claims(R"(,"zid":"a","sub":"system:serviceaccount:shop:other")"))),
            "request.token_wrong_subject");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", claims())), "request.token_wrong_subject");
}

TEST(TokenCheck, finds_the_account_where_the_pointer_leads) {
  Checked nested({.account_claim = "/ext_attr/sub~1account/0"});
  EXPECT_EQ(nested.ask(ec_key().sign("ES256", claims(R"(,"ext_attr":{"sub/account":["acme"]},"zid":"evil")"))), "acme");
  for (const char* more : {"", R"(,"ext_attr":"acme")", R"(,"ext_attr":{"sub/account":[1]})",
                           R"(,"ext_attr":{"sub/account":["a/b"]})", R"(,"ext_attr":{"sub/account":[".."]})",
                           R"(,"ext_attr":{"sub/account":[""]})", R"(,"ext_attr":{"sub/account":["a\u0000"]})"})
    EXPECT_EQ(nested.ask(ec_key().sign("ES256", claims(more))), "request.token_no_account") << more;
  Checked fixed({.account = "mine"});
  EXPECT_EQ(fixed.ask(ec_key().sign("ES256", claims(R"(,"zid":"evil")"))), "mine");
}

TEST(TokenCheck, refuses_what_is_no_token) {
  Checked checked;
  EXPECT_EQ(checked.ask(""), "request.token_missing");
  for (const std::string& text :
       {std::string("."), std::string(".."), std::string("a.b"), std::string("!.!.!"),
        base64url(R"({"alg":"ES256"})") + "..", base64url("[]") + "." + base64url("{}") + ".AAAA",
        ec_key().sign("ES256", claims()) + ".x", ec_key().sign("ES256", claims()) + "=",
        " " + ec_key().sign("ES256", claims()), ec_key().sign("ES256", R"({"iss":"https://issuer")"),
        ec_key().sign("ES256", R"("iss")"), ec_key().sign("ES256", claims() + "x"),
        ec_key().sign("ES256", R"({"alg":"ES256","kid":1})", claims())})
    EXPECT_EQ(checked.ask(text), "request.token_malformed") << text;
}

TEST(TokenCheck, refuses_a_name_that_occurs_twice) {
  Checked checked;
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", claims(R"(,"zid":"acme","zid":"evil")"))), "request.token_malformed");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", claims(R"(,"zid":"acme","z\u0069d":"evil")"))),
            "request.token_malformed");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", claims(R"(,"zid":"acme","x":[{"a":1,"a":1}])"))),
            "request.token_malformed");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", R"({"alg":"none","alg":"ES256","kid":"e1"})", claims())),
            "request.token_malformed");
}

TEST(TokenCheck, bounds_what_a_token_may_be) {
  Checked checked;
  const auto of_size = [&](std::size_t padding) {
    return ec_key().sign("ES256", claims(R"(,"zid":"acme","x":")" + std::string(padding, 'x') + "\""));
  };
  std::size_t padding = 5'000;
  while (of_size(padding + 1).size() <= token_bytes_max) ++padding;
  EXPECT_EQ(checked.ask(of_size(padding)), "acme");
  EXPECT_EQ(checked.ask(of_size(padding + 1)), "request.token_too_long");

  const auto of_elements = [&](std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) list += i == 0 ? "1" : ",1";
    return ec_key().sign("ES256",
                         R"({"iss":"https://issuer","exp":1900000000,"aud":"culvert","zid":"a","x":[)" + list + "]}");
  };
  EXPECT_EQ(checked.ask(of_elements(token_elements_max - 6)), "a");  // Six more: the object, four texts and the list.
  EXPECT_EQ(checked.ask(of_elements(token_elements_max - 5)), "request.token_malformed");
  EXPECT_EQ(checked.ask(ec_key().sign("ES256", claims(R"(,"zid":"a","x":[[[[[[[[1]]]]]]]])"))),
            "request.token_malformed");
}

TEST(TokenCheck, remembers_a_token_per_worker_until_it_expires) {
  Checked checked;
  const std::string token = ec_key().sign("ES256", claims());
  EXPECT_EQ(checked.ask(token, now, 0), "acme");
  EXPECT_EQ(checked.ask(token, now, 0), "acme");
  EXPECT_EQ(checked.ask(token, now, 1), "acme");
  EXPECT_EQ(checked.ask(token, now + std::chrono::seconds(59)), "acme");
  EXPECT_EQ(checked.ask(token, now + std::chrono::seconds(60)), "request.token_expired");
}

TEST(TokenCheck, distinguishes_issuers) {
  const testing::TemporaryDirectory folder;
  const SigningKey other_key = SigningKey::ec("e1");
  IssuerSettings one{.issuer = "one", .jwks_file = folder.write("1", testing::jwks({ec_key().jwk()})), .account = "a1"};
  IssuerSettings two{
      .issuer = "two", .jwks_file = folder.write("2", testing::jwks({other_key.jwk()})), .account = "a2"};
  TokenCheck check({{one, IssuerKeys::load(one).value()}, {two, IssuerKeys::load(two).value()}}, 1);
  EXPECT_EQ(check.bearer_of(ec_key().sign("ES256", R"({"iss":"one","exp":1900000000})"), 0, now)->account, "a1");
  EXPECT_EQ(check.bearer_of(other_key.sign("ES256", R"({"iss":"two","exp":1900000000})"), 0, now)->account, "a2");
  EXPECT_EQ(check.bearer_of(ec_key().sign("ES256", R"({"iss":"two","exp":1900000000})"), 0, now).error(),
            &token_refusals::bad_signature);
}

TEST(KeySet, takes_keys_that_are_strong_and_public) {
  const std::string good = ec_key().jwk();
  const auto size_of = [&](const std::vector<std::string>& keys) -> std::size_t {
    const auto set = KeySet::parse(testing::jwks(keys));
    return set ? set->size() : 0;
  };
  EXPECT_EQ(size_of({good, rsa_key().jwk()}), 2u);
  EXPECT_EQ(size_of({good, SigningKey::rsa("small", 1024).jwk()}), 1u);
  EXPECT_EQ(size_of({good, SigningKey::ec("p384", "P-384").jwk()}), 1u);
  EXPECT_EQ(size_of({good, rsa_key().jwk(R"(,"use":"enc")")}), 1u);
  EXPECT_EQ(size_of({good, R"({"kty":"oct","kid":"s","k":"AAAA"})", "1", "{}"}), 1u);
  EXPECT_EQ(size_of({good, R"({"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"})"}), 1u) << "not on the curve";
  EXPECT_EQ(size_of(std::vector<std::string>(jwks_keys_max, good)), jwks_keys_max);
  EXPECT_EQ(size_of(std::vector<std::string>(jwks_keys_max + 1, good)), 0u);
  for (const char* text : {"", "[]", "{}", R"({"keys":{}})", R"({"keys":[]})", R"({"keys":[)", "<html>"})
    EXPECT_EQ(KeySet::parse(text).error().code, "jwks.malformed") << text;
  EXPECT_EQ(KeySet::parse(std::string(jwks_bytes_max + 1, ' ')).error().code, "jwks.malformed");
}

}  // namespace
}  // namespace culvert::server
