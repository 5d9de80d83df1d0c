// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/agent_file.hpp"

#include <string>

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

StoredAgent full() {
  StoredAgent agent;
  agent.record = {.name = "edge-1",
                  .account = "acme",
                  .location = "berlin",
                  .agent = "edge",
                  .enabled = false,
                  .lifetime = seconds(3600),
                  .certificate = CertificateNote{.serial = "0f",
                                                 .issued_at = sys_seconds(seconds(1'700'000'000)),
                                                 .not_after = sys_seconds(seconds(1'702'592'000))}};
  agent.created = sys_seconds(seconds(951'782'400));
  agent.joined = sys_seconds(seconds(1'700'000'001));
  StoredToken token{
      .id = "abc", .secret = {}, .not_after = sys_seconds(seconds(4'102'444'799)), .used_by = {}, .used_at = {}};
  token.secret.front() = std::byte{0x01};
  token.secret.back() = std::byte{0xfe};
  token.used_by.emplace().fill(std::byte{0xab});
  token.used_at = agent.joined;
  agent.token = token;
  return agent;
}

std::string changed(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("not found: " + std::string(from));
  return text.replace(at, from.size(), to);
}

std::string fault_of(std::string_view text) {
  const auto agent = parse_agent("edge-1", text);
  if (agent) return "";
  EXPECT_EQ(agent.error().code, "enrolment.malformed");
  return agent.error().text;
}

TEST(AgentFile, reads_what_it_has_written) {
  StoredAgent agent = full();
  EXPECT_EQ(parse_agent("edge-1", to_json(agent)), agent);
  agent.token->used_by.reset();
  agent.token->used_at.reset();
  EXPECT_EQ(parse_agent("edge-1", to_json(agent)), agent);
  agent.token.reset();
  agent.joined.reset();
  agent.record.location.clear();
  agent.record.lifetime.reset();
  agent.record.certificate.reset();
  EXPECT_EQ(parse_agent("edge-1", to_json(agent)), agent);
}

TEST(AgentFile, has_this_form) {
  const std::string digest = "01" + std::string(60, '0') + "fe";
  std::string key;
  for (int i = 0; i < 32; ++i) key += "ab";
  EXPECT_EQ(to_json(full()),
            R"({"account":"acme","location":"berlin","agent":"edge","enabled":false,"created":"2000-02-29T00:00:00Z",)"
            R"("lifetime":3600,"joined":"2023-11-14T22:13:21Z","certificate":{"serial":"0f",)"
            R"("issued_at":"2023-11-14T22:13:20Z","not_after":"2023-12-14T22:13:20Z"},"token":{"id":"abc",)"
            R"("secret_sha256":")" +
                digest + R"(","not_after":"2099-12-31T23:59:59Z","used_by":")" + key +
                R"(","used_at":"2023-11-14T22:13:21Z"}})" + "\n");
}

TEST(AgentFile, says_what_is_wrong) {
  const std::string good = to_json(full());
  EXPECT_TRUE(fault_of("").contains("not JSON"));
  EXPECT_TRUE(fault_of(good.substr(0, good.size() / 2)).contains("not JSON"));
  EXPECT_EQ(fault_of("[]"), "it is not an object");
  EXPECT_EQ(fault_of("{}"), "\"account\" is missing");
  EXPECT_EQ(fault_of(R"({"kind":"Config","apiVersion":"v1"})"), "\"account\" is missing");
  EXPECT_EQ(fault_of(changed(good, "\"acme\"", "1")), "\"account\" is not a text of at most 255 bytes");
  EXPECT_EQ(fault_of(changed(good, "acme", "a/b")), "\"account\" is not a valid name");
  EXPECT_EQ(fault_of(changed(good, "berlin", "..")), "\"location\" is not a valid name");
  EXPECT_EQ(fault_of(changed(good, "\"edge\"", "\"\"")), "\"agent\" is not a valid name");
  EXPECT_EQ(fault_of(changed(good, "false", "0")), "\"enabled\" is not true or false");
  EXPECT_EQ(fault_of(changed(good, "\"enabled\":false,", "")), "\"enabled\" is missing");
  EXPECT_EQ(fault_of(changed(good, "3600", "0")), "\"lifetime\" is not a number of seconds");
  EXPECT_EQ(fault_of(changed(good, "3600", "9223372036854775807")), "\"lifetime\" is not a number of seconds");
  EXPECT_EQ(fault_of(changed(good, "\"0f\"", "null")), "\"certificate.serial\" is not a text of at most 255 bytes");
  EXPECT_EQ(fault_of(changed(good, "fe\"", "f\"")), "\"token.secret_sha256\" is not a SHA-256 digest in hex");
  EXPECT_EQ(fault_of(changed(good, "fe\"", "fg\"")), "\"token.secret_sha256\" is not a SHA-256 digest in hex");
  EXPECT_EQ(fault_of(changed(good, ",\"used_at\":\"2023-11-14T22:13:21Z\"", "")), "\"token.used_at\" is missing");
  EXPECT_EQ(fault_of(changed(good, "{\"acc", "{\"x\":1,\"acc")), "it has members that this version does not know");
  EXPECT_EQ(fault_of(changed(good, "{\"serial", "{\"x\":1,\"serial")),
            "\"certificate\" has members that this version does not know");
  EXPECT_EQ(fault_of(changed(good, "\"token\":{", "\"token\":1,\"y\":{")), "\"token\" is not an object");
}

TEST(AgentFile, accepts_one_spelling_of_a_time) {
  const std::string good = to_json(full());
  for (const std::string_view time :
       {"2000-02-30T00:00:00Z", "2000-13-01T00:00:00Z", "2000-02-29T24:00:00Z", "2000-02-29T00:60:00Z",
        "2000-02-29 00:00:00Z", "2000-02-29T00:00:00", "", "2000-2-029T00:00:00Z", "+200-02-29T00:00:00Z"}) {
    EXPECT_EQ(fault_of(changed(good, "2000-02-29T00:00:00Z", time)),
              "\"created\" is not a time like 2026-05-01T12:00:00Z")
        << time;
  }
}

TEST(AgentFile, keeps_names_within_63_bytes) {
  EXPECT_TRUE(is_agent_name(std::string(63, 'a')));
  EXPECT_FALSE(is_agent_name(std::string(64, 'a')));
  EXPECT_FALSE(is_agent_name(""));
  EXPECT_FALSE(is_agent_name(".."));
  EXPECT_FALSE(is_agent_name("a/b"));
}

TEST(AgentStore, makes_keys_and_spiffe_ids) {
  AgentRecord record{
      .name = "x", .account = "acme", .location = "", .agent = "edge", .lifetime = {}, .certificate = {}};
  AgentIdentity identity;
  identity.account = "acme";
  identity.agent = "edge";
  EXPECT_EQ(key_of(record), "acme//edge");
  EXPECT_EQ(key_of(identity), key_of(record));
  EXPECT_EQ(spiffe_id_of(record, "example.org"), "spiffe://example.org/account/acme/agent/edge");
  record.location = "berlin";
  EXPECT_EQ(key_of(record), "acme/berlin/edge");
  EXPECT_NE(key_of(identity), key_of(record));
  EXPECT_EQ(spiffe_id_of(record, "example.org"), "spiffe://example.org/account/acme/location/berlin/agent/edge");
}

TEST(AgentStore, gives_a_verdict_on_each_identity) {
  EnrolledAgents agents;
  agents.enabled = {{"acme//edge", true}, {"acme/berlin/edge", false}};
  AgentIdentity identity;
  identity.account = "acme";
  identity.agent = "edge";
  EXPECT_EQ(agents.verdict(identity), EnrolledAgents::Verdict::enrolled);
  identity.location = "berlin";
  EXPECT_EQ(agents.verdict(identity), EnrolledAgents::Verdict::disabled);
  identity.location = "paris";
  EXPECT_EQ(agents.verdict(identity), EnrolledAgents::Verdict::unknown);
}

}  // namespace
}  // namespace culvert::server
