// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/certificate_requests.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

namespace culvert::server {
namespace {

namespace json = boost::json;
using Kind = RequestOutcome::Kind;

std::vector<std::byte> bytes(std::string_view text) {
  std::vector<std::byte> all;
  for (const char c : text) all.push_back(static_cast<std::byte>(c));
  return all;
}

TEST(CertificateRequests, ask_the_issuer_for_a_client_certificate) {
  const json::object made =
      request_object(bytes(std::string(50, 'a')), {"ca", "ClusterIssuer", "cert-manager.io"}, std::chrono::hours(2));
  const json::object& spec = made.at("spec").as_object();
  EXPECT_EQ(json::serialize(spec.at("issuerRef")), R"({"name":"ca","kind":"ClusterIssuer","group":"cert-manager.io"})");
  EXPECT_EQ(spec.at("duration"), "7200s");
  EXPECT_EQ(json::serialize(spec.at("usages")), R"(["digital signature","client auth"])");
  // "-----BEGIN CERTIFICATE REQUEST-----\nYWFh…" in base64, with lines of 64.
  EXPECT_EQ(spec.at("request"),
            "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KWVdGaFlXRmhZV0ZoWVdGaFlXRmhZV0ZoWVdGaFlXRmhZV0ZoWVdGaFlX"
            "RmhZV0ZoWVdGaFlXRmhZV0ZoWVdGaAp"
            "ZV0U9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=");
}

TEST(CertificateRequests, end_as_cert_manager_says) {
  const auto outcome = [](std::string_view conditions, std::string_view more = "") {
    return outcome_of(
        {{"status", json::parse("{\"conditions\":[" + std::string(conditions) + "]" + std::string(more) + "}")}});
  };
  EXPECT_EQ(outcome_of({}).kind, Kind::pending);
  EXPECT_EQ(
      outcome(R"({"type": "Approved", "status": "True"}, {"type": "Ready", "status": "False", "reason": "Pending"})")
          .kind,
      Kind::pending);
  EXPECT_EQ(outcome(R"({"type": "Denied", "status": "False"})").kind, Kind::pending);
  const auto denied = outcome(R"({"type": "Denied", "status": "True", "message": "policy"})");
  EXPECT_EQ(denied.kind, Kind::denied);
  EXPECT_EQ(denied.text, "policy");
  EXPECT_EQ(outcome(R"({"type": "InvalidRequest", "status": "True"})").kind, Kind::denied);
  EXPECT_EQ(outcome(R"({"type": "Ready", "status": "False", "reason": "Denied"})").kind, Kind::denied);
  EXPECT_EQ(outcome(R"({"type": "Ready", "status": "False", "reason": "Failed", "message": "no"})").text, "no");
  EXPECT_EQ(outcome(R"({"type": "Ready", "status": "True"})").kind, Kind::failed) << "without a certificate";
  EXPECT_EQ(outcome(R"({"type": "Ready", "status": "True"})", R"(,"certificate":"YWJj")").text, "abc");
  EXPECT_EQ(outcome(R"({"type": "Ready", "status": "True"}, {"type": "Denied", "status": "True"})",
                    R"(,"certificate":"YWJj")")
                .kind,
            Kind::denied);
}

TEST(CertificateRequests, read_certificates_and_nothing_else) {
  const std::string one = "-----BEGIN CERTIFICATE-----\nYWJj\nZGU=\n-----END CERTIFICATE-----\n";
  const auto two = certificates_in(one + "\n" + one);
  ASSERT_TRUE(two);
  EXPECT_EQ(*two, bytes("abcdeabcde"));
  for (const std::string& bad : {std::string(), std::string("x"), "x" + one, one + "x", one.substr(0, 40),
                                 std::string("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"),
                                 std::string("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----")})
    EXPECT_FALSE(certificates_in(bad)) << bad;
}

}  // namespace
}  // namespace culvert::server
