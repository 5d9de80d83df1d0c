// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/agent_object.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include "common/enrolment/join_token.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using protocol::Reason;

const std::chrono::sys_seconds start{std::chrono::sys_days{std::chrono::year(2026) / 5 / 1}};
const std::string secret_hash(64, 'a');

AgentObject object(std::string name, std::string created = "1") {
  return {.name_space = "culvert",
          .name = name,
          .uid = "u-" + name,
          .version = "1",
          .created = std::move(created),
          .generation = 3,
          .account = "acme",
          .location = "plant-1",
          .agent = std::move(name),
          .enabled = true};
}

Sha256 digest(char hex) {
  Sha256 made{};
  made.fill(static_cast<std::byte>(hex == 'a' ? 0xaa : 0xbb));
  return made;
}

TokenNote note() {
  return {.id = "t1",
          .hash = digest('a'),
          .not_after = start + 1h,
          .identity = "acme/plant-1/gate-1",
          .secret_name = {},
          .used_by = {}};
}

AgentObjects by_key(const std::vector<AgentObject>& objects) {
  AgentObjects all;
  for (const AgentObject& each : objects) all.emplace("culvert/" + each.name, each);
  return all;
}

TEST(AgentObject, is_read_from_json) {
  const auto read = read_agent(json::parse(R"({"metadata": {"name": "gate-1", "namespace": "culvert", "uid": "1",
    "generation": 2, "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
    "annotations": {"culvert.dev/rejoin": "x"}},
    "spec": {"account": "acme", "location": "plant-1", "lifetime": "12h", "enabled": true},
    "status": {"version": "1"}})")
                                   .as_object());
  EXPECT_EQ(read.name_space + read.name + read.account + read.location + read.agent, "culvertgate-1acmeplant-1gate-1");
  EXPECT_TRUE(read.enabled);
  EXPECT_EQ(read.lifetime + read.rejoin + read.version, "12hx7");
  EXPECT_FALSE(read.is_going);
}

TEST(AgentObject, is_enabled_unless_it_says_otherwise) {
  const auto enabled = [](std::string_view spec) { return read_agent({{"spec", json::parse(spec)}}).enabled; };
  EXPECT_TRUE(enabled("{}"));
  EXPECT_TRUE(enabled(R"({"enabled": true})"));
  EXPECT_FALSE(enabled(R"({"enabled": false})"));
  EXPECT_FALSE(enabled(R"({"enabled": "true"})")) << "what cannot be read lets nobody in";
  EXPECT_FALSE(enabled(R"({"enabled": null})"));
}

TEST(AgentObject, is_refused_with_a_reason) {
  const auto reason = [](auto change) {
    AgentObject made = object("gate-1");
    change(made);
    const auto planned = plan_agents(by_key({made})).at("culvert/gate-1");
    EXPECT_EQ(enrolled_of(by_key({made}), {{"culvert/gate-1", planned}}).enabled.size(),
              planned.is_accepted() ? 1U : 0U);
    return planned.reason;
  };
  EXPECT_EQ(reason([](auto&) {}), "Accepted");
  EXPECT_EQ(reason([](auto& made) { made.account = ""; }), "BadAccount");
  EXPECT_EQ(reason([](auto& made) { made.account = "a/b"; }), "BadAccount");
  EXPECT_EQ(reason([](auto& made) { made.account = std::string(255, 'a'); }), "Accepted");
  EXPECT_EQ(reason([](auto& made) { made.account = std::string(256, 'a'); }), "BadAccount");
  EXPECT_EQ(reason([](auto& made) { made.location = ".."; }), "BadLocation");
  EXPECT_EQ(reason([](auto& made) { made.location = ""; }), "Accepted");
  EXPECT_EQ(reason([](auto& made) { made.agent = "a b"; }), "BadAgent");
  for (const char* good : {"60s", "1m", "1h", "30d", "366d"})
    EXPECT_EQ(reason([&](auto& made) { made.lifetime = good; }), "Accepted") << good;
  for (const char* bad : {"59s", "367d", "1", "h", "-1h", "1h ", "1.5h", "1w", "99999999999999999999s", "1h30m"})
    EXPECT_EQ(reason([&](auto& made) { made.lifetime = bad; }), "BadLifetime") << bad;
  AgentObject daily = object("gate-1");
  daily.lifetime = "24h";
  EXPECT_EQ(plan_agent(daily).record.lifetime, 86'400s);
}

TEST(AgentObject, counts_if_it_is_the_oldest_of_its_agent) {
  AgentObject young = object("young", "2");
  young.agent = "gate-1";
  AgentObject going = object("going", "0");
  going.agent = "gate-1";
  going.is_going = true;
  auto all = by_key({young, object("gate-1", "1"), going});
  auto planned = plan_agents(all);
  EXPECT_TRUE(planned.at("culvert/gate-1").is_accepted());
  EXPECT_EQ(planned.at("culvert/young").reason, "Duplicate");
  EXPECT_NE(planned.at("culvert/young").message.find("gate-1"), std::string::npos) << "it says of which";
  all.at("culvert/gate-1").enabled = false;
  EXPECT_EQ(enrolled_of(all, plan_agents(all)).enabled,
            (decltype(EnrolledAgents::enabled){{"acme/plant-1/gate-1", false}}))
      << "the younger one must not let in what the older one has disabled";

  AgentObject other = young;
  other.location = "";
  EXPECT_EQ(plan_again(young, &planned.at("culvert/young")).reason, "Duplicate");
  EXPECT_EQ(plan_again(other, &planned.at("culvert/young")).reason, "Accepted") << "it is another agent now";
  EXPECT_EQ(plan_again(young, nullptr).reason, "Accepted");
}

TEST(AgentObject, has_a_certificate_only_for_the_identity_that_joined) {
  AgentObject joined = object("gate-1");
  const CertificateNote certificate{"4a3b", start, start + 24h};
  joined.status = with_certificate({{"version", "1"}}, plan_agent(joined).record, certificate);
  EXPECT_EQ(plan_agent(joined).record.certificate, certificate);
  EXPECT_EQ(joined.status.at("version"), "1") << "the rest stays";
  AgentObject other = joined;
  other.location = "plant-2";
  EXPECT_FALSE(plan_agent(other).record.certificate);
  other = joined;
  other.status["certificate"].as_object()["notAfter"] = "tomorrow";
  EXPECT_FALSE(plan_agent(other).record.certificate);
}

TEST(AgentObject, keeps_its_token_in_its_status) {
  AgentObject made = object("gate-1");
  EXPECT_FALSE(token_of(made));
  made.status = with_new_token({{"version", "1"}, {"joinToken", {{"usedBy", "k"}}}}, note());
  EXPECT_EQ(token_of(made), note()) << "nothing of an older token is left";
  EXPECT_EQ(text_at(object_at(made.status, "joinToken"), "secretSHA256"), secret_hash);
  const TokenClaim claim{"t1", digest('a'), digest('b')};
  made.status = with_used_token(made.status, claim, start);
  EXPECT_EQ(token_of(made)->used_by, std::string(64, 'b'));
  made.status = with_used_token(made.status, claim, start + 1h);
  EXPECT_EQ(text_at(object_at(made.status, "joinToken"), "usedAt"), "2026-05-01T00:00:00Z") << "the first use";
  for (const char* member : {"id", "secretSHA256", "notAfter"}) {
    AgentObject broken = made;
    broken.status["joinToken"].as_object()[member] = "";
    EXPECT_FALSE(token_of(broken)) << member;
  }
}

TEST(AgentObject, judges_who_may_use_a_token) {
  struct Row {
    const char* what;
    TokenNote token;
    TokenClaim claim;
    AgentObject object;
    std::chrono::seconds after;
    std::optional<Reason> refused;
  };
  const TokenClaim good{"t1", digest('a'), digest('b')};
  const TokenClaim wrong{"t1", digest('b'), digest('b')};
  const TokenClaim other_key{"t1", digest('a'), digest('a')};
  TokenNote used = note();
  used.used_by = std::string(64, 'b');
  AgentObject disabled = object("gate-1");
  disabled.enabled = false;
  AgentObject renamed = object("gate-1");
  renamed.agent = "gate-2";
  AgentObject bad = object("gate-1");
  bad.lifetime = "soon";
  for (const Row& row : std::vector<Row>{
           {"the right secret", note(), good, object("gate-1"), 0s, {}},
           {"at its last second", note(), good, object("gate-1"), 3'599s, {}},
           {"at its end", note(), good, object("gate-1"), 3'600s, Reason::token_expired},
           {"a wrong secret", note(), wrong, object("gate-1"), 0s, Reason::token_refused},
           {"another id", note(), {"t2", digest('a'), digest('b')}, object("gate-1"), 0s, Reason::token_refused},
           {"used by this key", used, good, object("gate-1"), 0s, {}},
           {"used by this key, after its end", used, good, object("gate-1"), 3'600s, Reason::token_expired},
           {"used by another key", used, other_key, object("gate-1"), 0s, Reason::token_used},
           {"used, a wrong secret", used, wrong, object("gate-1"), 0s, Reason::token_refused},
           {"disabled", note(), good, disabled, 0s, Reason::agent_disabled},
           {"disabled, a wrong secret", note(), wrong, disabled, 0s, Reason::token_refused},
           {"for another agent", note(), good, renamed, 0s, Reason::token_refused},
           {"of an object that does not count", note(), good, bad, 0s, Reason::token_refused},
       }) {
    const PlannedAgent planned = plan_agent(row.object);
    const auto judged = judge(&row.token, &planned, row.claim, start + row.after);
    EXPECT_EQ(judged ? std::nullopt : std::optional(judged.error().reason), row.refused) << row.what;
  }
  const PlannedAgent planned = plan_agent(object("gate-1"));
  const TokenNote token = note();
  const auto unknown = judge(nullptr, nullptr, good, start);
  const auto refused = judge(&token, &planned, wrong, start);
  ASSERT_FALSE(unknown || refused);
  EXPECT_EQ(unknown.error(), refused.error()) << "an unknown id and a wrong secret look the same";
  EXPECT_FALSE(judge(nullptr, &planned, {"", {}, {}}, start)) << "nor is a secret of zeros the one of no token";
  EXPECT_FALSE(judge(&token, nullptr, good, start)) << "the object is gone";
}

TEST(AgentObject, owns_the_secret_with_its_token) {
  const json::object made = join_secret_of(object("gate-1"), note(), "culvert-join-1.x");
  EXPECT_EQ(json::serialize(made.at("stringData")), R"({"token":"culvert-join-1.x"})");
  EXPECT_EQ(made.at("type"), "Opaque");
  const json::object& metadata = made.at("metadata").as_object();
  EXPECT_EQ(metadata.at("name"), "culvert-join-gate-1");
  EXPECT_EQ(metadata.at("annotations").at("culvert.dev/not-after"), "2026-05-01T01:00:00Z");
  const json::object& owner = metadata.at("ownerReferences").as_array().at(0).as_object();
  EXPECT_EQ(text_at(owner, "kind") + text_at(owner, "name") + text_at(owner, "uid"), "Agentgate-1u-gate-1");
}

}  // namespace
}  // namespace culvert::server
