// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/application_object.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
const ClusterSecrets::Time start{1000h};

ApplicationRules rules() {
  return {.allow_skip_verify = false,
          .accounts = {"acme"},
          .name_space = "culvert",
          .gateway_host = "central-application-gateway.culvert.svc.cluster.local"};
}

/// An Application with these services, and more members of metadata and spec.
ApplicationSpec application(std::string_view services, std::string_view annotations = "{}",
                            std::string_view spec = R"("encodeUrl": true)") {
  return read_application(json::parse(fmt::format(R"({{"metadata": {{"name": "shop", "annotations": {}}},
      "spec": {{"services": [{}], {}}}}})",
                                                  annotations, services, spec))
                              .as_object())
      .spec;
}

std::string service(std::string_view name, std::string_view entries, std::string_view id = "") {
  return fmt::format(R"({{"id": "{}", "name": "x", "displayName": "{}", "entries": [{}]}})", id.empty() ? name : id,
                     name, entries);
}

std::string entry(std::string_view more = "", std::string_view url = "https://shop.example.com/api") {
  return fmt::format(R"({{"type": "API", "targetUrl": "{}"{}{}}})", url, more.empty() ? "" : ", ", more);
}

std::string login(std::string_view type, std::string_view more = "") {
  return fmt::format(R"("credentials": {{"type": "{}", "secretName": "login"{}{}}})", type, more.empty() ? "" : ", ",
                     more);
}

const std::string oauth_url = R"("authenticationUrl": "https://login.example.com/token")";

/// The Secret "login", or another one, with these keys; all values are base64 of their keys, but for `texts`.
struct PlannedApplicationTest : ::testing::Test {
  void put(const std::string& name, const std::map<std::string, std::string>& base64) {
    names.insert(name);
    secrets.follow(names, start);
    json::object data;
    for (const auto& [key, value] : base64) data[key] = value;
    secrets.note_answer(name, 200, json::object{{"metadata", {{"resourceVersion", "1"}}}, {"data", data}}, "", start);
  }
  void put_missing(const std::string& name, int status = 404) {
    names.insert(name);
    secrets.follow(names, start);
    secrets.note_answer(name, status, {}, fmt::format("{} of the API", status), start);
  }
  PlannedApplication plan(const ApplicationSpec& spec, const ApplicationRules& with = rules()) {
    return plan_application(spec, secrets, with);
  }
  /// The problems of a plan, as "Reason: message".
  static std::vector<std::string> problems(const PlannedApplication& planned) {
    std::vector<std::string> all;
    for (const auto& each : planned.report.problems) all.push_back(each.reason + ": " + each.message);
    for (const auto& each : planned.report.secret_problems) all.push_back(each.reason + ": " + each.message);
    return all;
  }
  std::set<std::string> names;
  ClusterSecrets secrets;
};
using Texts = std::vector<std::string>;

TEST_F(PlannedApplicationTest, has_a_target_for_each_entry_of_type_api) {
  const auto planned = plan(application(service("Orders API", entry() + R"(, {"type": "Events"})", "7") + "," +
                                        service("CRM", entry(R"("name": "V1")") + "," + entry(R"("name": "V2")"))));
  ASSERT_EQ(planned.targets.size(), 3U);
  const NamedTarget& orders = planned.targets[0];
  EXPECT_EQ(orders.application + "|" + orders.service + "|" + orders.entry + "|" + orders.owner + "|" +
                orders.description.name + "|" + orders.problem,
            "shop|Orders API|Orders API|7|shop/orders-api/orders-api|");
  EXPECT_EQ(orders.description.url, "https://shop.example.com/api");
  EXPECT_EQ(orders.description.login.type, LoginType::none);
  EXPECT_EQ(planned.targets[2].description.name, "shop/crm/v2");
  EXPECT_EQ(problems(planned), Texts{});
  EXPECT_EQ(json::serialize(planned.report.gateway),
            R"([{"service":"Orders API","entry":"Orders API",)"
            R"("url":"http://central-application-gateway.culvert.svc.cluster.local:8080/shop/orders-api"},)"
            R"({"service":"CRM","entry":"V1",)"
            R"("url":"http://central-application-gateway.culvert.svc.cluster.local:8082/shop/crm/v1"},)"
            R"({"service":"CRM","entry":"V2",)"
            R"("url":"http://central-application-gateway.culvert.svc.cluster.local:8082/shop/crm/v2"}])");
}

TEST_F(PlannedApplicationTest, takes_each_login_from_its_secret) {
  put("login", {{"username", "dXNlcg=="},
                {"password", "cGFzcw=="},
                {"clientId", "Y2xpZW50"},
                {"clientSecret", "c2VjcmV0"},
                {"crt", "Y2VydA=="},
                {"key", "a2V5"}});
  const auto login_of = [&](std::string_view type, std::string_view annotations = "{}") {
    auto planned = plan(application(service("s", entry(login(type, oauth_url))), annotations));
    EXPECT_EQ(problems(planned), Texts{});
    return std::move(planned.targets.at(0).description.login);
  };
  const LoginTexts basic = login_of("Basic");
  EXPECT_EQ(basic.type, LoginType::basic);
  EXPECT_EQ(basic.user, "user");
  EXPECT_EQ(basic.secret.reveal(), "pass");
  EXPECT_EQ(basic.token_url, "") << "of no meaning here";
  const LoginTexts oauth = login_of("OAuth");
  EXPECT_EQ(oauth.type, LoginType::oauth);
  EXPECT_EQ(oauth.user, "client");
  EXPECT_EQ(oauth.secret.reveal(), "secret");
  EXPECT_EQ(oauth.token_url, "https://login.example.com/token");
  // As Kyma's gateway: Basic and the form.
  EXPECT_EQ(oauth.service_user, "client");
  EXPECT_EQ(oauth.service_password.reveal(), "secret");
  const LoginTexts header = login_of("OAuth", R"({"culvert.dev/oauth-client-in": "header"})");
  EXPECT_EQ(header.service_user, "");
  EXPECT_FALSE(header.in_form);
  const LoginTexts form = login_of("OAuth", R"({"culvert.dev/oauth-client-in": "form"})");
  EXPECT_EQ(form.service_user, "");
  EXPECT_TRUE(form.in_form);
  const LoginTexts tls = login_of("OAuthWithCert");
  EXPECT_EQ(tls.type, LoginType::oauth_with_certificate);
  EXPECT_EQ(tls.user, "client");
  EXPECT_EQ(tls.certificate.reveal(), "cert");
  EXPECT_EQ(tls.private_key.reveal(), "key");
  EXPECT_EQ(tls.secret.reveal(), "");
  const LoginTexts certificate = login_of("CertificateGen");
  EXPECT_EQ(certificate.type, LoginType::certificate);
  EXPECT_EQ(certificate.certificate.reveal(), "cert");
  EXPECT_EQ(certificate.certificate_name, "Secret login, key crt");
}

TEST_F(PlannedApplicationTest, reports_a_secret_that_cannot_be_used_and_harms_no_other_entry) {
  const ApplicationSpec spec = application(service("good", entry()) + "," + service("bad", entry(login("Basic"))));
  const auto outcome = [&] {
    const auto planned = plan(spec);
    EXPECT_EQ(planned.targets.at(0).problem, "");
    EXPECT_EQ(planned.report.problems, std::vector<ApplicationProblem>{});
    const auto all = problems(planned);
    return planned.targets.at(1).problem + (all.empty() ? "" : "|" + all.front());
  };
  EXPECT_EQ(outcome(), R"(the Secret "login" is not read yet)") << "which is over in a moment";
  put_missing("login");
  EXPECT_EQ(outcome(), R"(there is no Secret "login" in the namespace "culvert"|)"
                       R"(SecretMissing: service "bad": there is no Secret "login" in the namespace "culvert")");
  put_missing("login", 403);
  EXPECT_EQ(outcome(), R"(the Secret "login": 403 of the API|)"
                       R"(SecretUnreadable: service "bad": the Secret "login": 403 of the API)");
  put("login", {{"username", "dXNlcg=="}});
  EXPECT_EQ(outcome(), R"(the Secret "login" has no key password, or it is empty|)"
                       R"(SecretIncomplete: service "bad": the Secret "login" has no key password, or it is empty)");
  put("login", {{"username", "dXNlcg=="}, {"password", ""}});
}

TEST_F(PlannedApplicationTest, takes_an_empty_password_but_no_empty_name) {
  const ApplicationSpec spec = application(service("s", entry(login("Basic"))));
  put("login", {{"username", "dXNlcg=="}, {"password", ""}});
  EXPECT_EQ(plan(spec).targets[0].problem, "");
  secrets.follow({}, start);
  put("login", {{"username", ""}, {"password", "cGFzcw=="}});
  EXPECT_EQ(plan(spec).targets[0].problem, R"(the Secret "login" has no key username, or it is empty)");
  secrets.follow({}, start);
  put("login", {{"username", "YTpi"}, {"password", "cGFzcw=="}});
  EXPECT_EQ(plan(spec).targets[0].problem, R"(username in the Secret "login" has a colon)");
}

TEST_F(PlannedApplicationTest, reads_request_parameters) {
  const ApplicationSpec spec = application(service("s", entry(R"("requestParametersSecretName": "more")")));
  EXPECT_EQ(secrets_of(spec), std::set<std::string>{"more"});
  put("more", {{"headers", "eyJYLUtleSI6WyIxIl19"}, {"queryParameters", "eyJhIjpbImIiXX0="}});
  const auto planned = plan(spec);
  EXPECT_EQ(problems(planned), Texts{});
  EXPECT_EQ(planned.targets[0].description.parameters.fields.find("X-Key"), "1");
  EXPECT_EQ(planned.targets[0].description.parameters.query, "a=b");
  secrets.follow({}, start);
  put("more", {{"other", ""}});
  EXPECT_EQ(problems(plan(spec)),
            Texts{R"(SecretIncomplete: service "s": the Secret "more" has neither headers nor queryParameters)"});
  secrets.follow({}, start);
  put("more", {{"headers", "c2VjcmV0"}});  // "secret", which is not JSON.
  const auto bad = plan(spec);
  ASSERT_EQ(problems(bad).size(), 1U);
  EXPECT_EQ(problems(bad)[0].find("SecretInvalid: service \"s\": the Secret \"more\": headers: not a JSON object"), 0U);
  EXPECT_FALSE(problems(bad)[0].contains("secret\""));
}

TEST_F(PlannedApplicationTest, reports_bad_urls_and_credentials_with_their_place) {
  put("login", {{"clientId", "YQ=="}, {"clientSecret", "YQ=="}, {"username", "YQ=="}, {"password", "YQ=="}});
  const auto problem = [&](const std::string& entries) {
    const auto planned = plan(application(service("s", entries)));
    EXPECT_FALSE(planned.targets.at(0).problem.empty());
    const auto all = problems(planned);
    return all.empty() ? "" : all.front();
  };
  const std::string must = "must be a URL like https://host[:port]/path without user, fragment and dot segments";
  EXPECT_EQ(problem(entry(R"("name": "v1")", "ftp://x")), R"(BadUrl: service "s", entry "v1": targetUrl )" + must);
  EXPECT_EQ(problem(R"({"type": "API"})"), R"(BadUrl: service "s": targetUrl is missing)");
  EXPECT_EQ(problem(entry(login("OAuth"))), R"(BadUrl: service "s": credentials.authenticationUrl is missing)");
  EXPECT_EQ(problem(entry(login("Basic", R"("csrfInfo": {"tokenEndpointURL": "x"})"))),
            R"(BadUrl: service "s": credentials.csrfInfo.tokenEndpointURL )" + must);
  EXPECT_EQ(problem(entry(login("NTLM"))),
            R"(BadCredentials: service "s": credentials.type must be Basic, OAuth, OAuthWithCert or CertificateGen)");
  EXPECT_EQ(problem(entry(R"("credentials": {"type": "Basic"})")),
            R"(BadCredentials: service "s": credentials.secretName is missing)");
}

TEST_F(PlannedApplicationTest, a_clash_of_names_makes_both_unusable_and_no_other) {
  const auto planned = plan(application(service("Orders", entry(), "1") + "," + service("orders!", entry(), "2") + "," +
                                        service("CRM", entry(), "3")));
  const std::string text = R"(the services "Orders" and "orders!" are both "orders" in a path; rename one)";
  EXPECT_EQ(problems(planned), Texts{"NameClash: " + text});
  ASSERT_EQ(planned.targets.size(), 3U);
  EXPECT_EQ(planned.targets[0].problem, text);
  EXPECT_EQ(planned.targets[1].problem, text);
  EXPECT_NE(planned.targets[0].owner, planned.targets[1].owner);
  EXPECT_EQ(planned.targets[2].problem, "");
  EXPECT_EQ(planned.report.gateway.size(), 1U);
}

TEST_F(PlannedApplicationTest, services_with_one_id_are_still_two) {
  const auto planned = plan(application(service("Orders", entry(), "1") + "," + service("orders", entry(), "1")));
  EXPECT_NE(planned.targets.at(0).owner, planned.targets.at(1).owner);
  EXPECT_EQ(problems(planned).size(), 1U);
}

TEST_F(PlannedApplicationTest, entries_clash_within_their_service) {
  const auto planned = plan(application(
      service("s", entry(R"("name": "a")") + "," + entry(R"("name": "V.1")") + "," + entry(R"("name": "v-1")"))));
  EXPECT_EQ(problems(planned),
            Texts{R"(NameClash: service "s": 2 entries are "v-1" in a path; give each a name of its own)"});
  EXPECT_EQ(planned.targets.at(0).problem, "");
  EXPECT_NE(planned.targets.at(1).problem, "");
  EXPECT_NE(planned.targets.at(2).problem, "");
}

TEST_F(PlannedApplicationTest, a_name_without_a_path_has_no_target) {
  const auto planned = plan(application(service("…", entry()) + "," + service("s", entry())));
  EXPECT_EQ(planned.targets.size(), 1U);
  EXPECT_EQ(problems(planned), Texts{"BadName: service \"…\": a name needs an ASCII letter or digit for its path"});
}

TEST_F(PlannedApplicationTest, skips_verification_only_where_the_server_allows_it) {
  const ApplicationSpec spec = application(service("s", entry()), "{}", R"("skipVerify": true)");
  const auto refused = plan(spec);
  EXPECT_FALSE(refused.targets[0].description.skip_verify);
  EXPECT_EQ(refused.targets[0].problem, "") << "with verification it can be used";
  ASSERT_EQ(refused.report.problems.size(), 1U);
  EXPECT_EQ(refused.report.problems[0].reason, "SkipVerifyRefused");
  auto allowing = rules();
  allowing.allow_skip_verify = true;
  const auto allowed = plan(spec, allowing);
  EXPECT_TRUE(allowed.targets[0].description.skip_verify);
  EXPECT_EQ(problems(allowed), Texts{});
  EXPECT_TRUE(allowed.report.skips_verify);
}

TEST_F(PlannedApplicationTest, annotations_have_time_limits) {
  const auto planned = plan(application(service("s", entry()), R"({"culvert.dev/connect-timeout": "250ms",
      "culvert.dev/first-byte-timeout": "2h", "culvert.dev/idle-timeout": "500ms", "culvert.dev/colour": "red",
      "other.dev/x": ""})"));
  const TargetDescription& description = planned.targets[0].description;
  EXPECT_EQ(description.connect_timeout, 250ms);
  EXPECT_EQ(description.first_byte_timeout, 2h);
  EXPECT_EQ(description.idle_timeout, 5min) << "0.5 s is too short";
  EXPECT_EQ(planned.targets[0].problem, "");
  EXPECT_EQ(problems(planned),
            (Texts{"BadAnnotation: annotation culvert.dev/colour is not known",
                   "BadAnnotation: annotation culvert.dev/idle-timeout: write a time such as \"10s\" or \"2m\"; the "
                   "default applies"}));
}

TEST_F(PlannedApplicationTest, leads_through_an_agent_of_an_allowed_account) {
  put("login", {{"crt", "YQ=="}, {"key", "YQ=="}});
  const auto with = [&](std::string_view annotations, const std::string& entries) {
    return plan(application(service("s", entries), annotations));
  };
  const std::string here = entry("", "http://erp:8000/sap");
  const auto good = with(R"({"culvert.dev/account": "acme", "culvert.dev/location": "plant-1"})", here);
  EXPECT_EQ(problems(good), Texts{});
  EXPECT_EQ(good.targets[0].description.account + "/" + good.targets[0].description.location, "acme/plant-1");
  const auto reason = [&](std::string_view annotations, const std::string& entries) {
    const auto planned = with(annotations, entries);
    EXPECT_NE(planned.targets[0].problem, "");
    return planned.report.problems.at(0).reason;
  };
  EXPECT_EQ(reason(R"({"culvert.dev/account": "other"})", here), "AccountNotAllowed");
  EXPECT_EQ(reason(R"({"culvert.dev/account": "a/b"})", here), "BadAnnotation");
  EXPECT_EQ(reason(R"({"culvert.dev/location": "plant-1"})", here), "BadAnnotation");
  EXPECT_EQ(reason(R"({"culvert.dev/account": "acme"})", entry()), "BadUrl");
  EXPECT_EQ(reason(R"({"culvert.dev/account": "acme"})", entry(login("CertificateGen"), "http://erp")),
            "BadCredentials");
}

// ---- the status

json::object status_of(const ApplicationReport& report, json::object before = {}) {
  ApplicationObject object;
  object.generation = 3;
  object.status = std::move(before);
  return application_status(object, report, "2026-01-01T00:00:00Z");
}

std::string condition(const json::object& status, std::string_view type) {
  const json::object& found = condition_in(status, type);
  return text_at(found, "status") + " " + text_at(found, "reason") + " " + text_at(found, "message");
}

TEST(ApplicationStatus, keeps_what_others_wrote) {
  const auto status = status_of({}, json::parse(R"({"installationStatus": {"status": "deployed"}})").as_object());
  EXPECT_EQ(text_at(object_at(status, "installationStatus"), "status"), "deployed");
  EXPECT_EQ(condition(status, "Ready"), "True Ready ");
  EXPECT_EQ(condition(status, "Accepted"), "True Accepted ");
  EXPECT_EQ(number_at(status, "observedGeneration"), 3);
}

TEST(ApplicationStatus, has_the_first_reason_and_all_messages) {
  const auto status = status_of({.problems = {{"BadUrl", "one"}, {"NameClash", "two"}},
                                 .secret_problems = {{"SecretMissing", "three"}},
                                 .skips_verify = true,
                                 .gateway = {}});
  EXPECT_EQ(condition(status, "Accepted"), "False BadUrl one; two");
  EXPECT_EQ(condition(status, "SecretsFound"), "False SecretMissing three");
  EXPECT_EQ(condition(status, "Ready"), "False BadUrl one; two");
}

TEST(ApplicationStatus, says_that_certificates_are_not_verified) {
  const auto status = status_of({.problems = {}, .secret_problems = {}, .skips_verify = true, .gateway = {}});
  EXPECT_EQ(condition(status, "Accepted"),
            "True Accepted the certificates of its targets are not verified (skipVerify)");
}

TEST(ApplicationStatus, has_short_messages) {
  ApplicationReport report;
  for (int i = 0; i < 100; ++i) report.problems.push_back({"BadUrl", std::string(300, 'x')});
  const std::string message = text_at(condition_in(status_of(report), "Accepted"), "message");
  EXPECT_LT(message.size(), 1024U);
  EXPECT_TRUE(message.ends_with("; and 97 more")) << message;
}

}  // namespace
}  // namespace culvert::server
