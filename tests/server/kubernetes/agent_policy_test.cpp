// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/agent_policy.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using Kind = AgentWork::Kind;
const AgentPolicy::Time start{1000h};
const AgentPolicy::Date today{std::chrono::sys_days{std::chrono::year(2026) / 5 / 1}};
const AgentConnection here{"replica-1", "4a", "culvert-agent_0.4.0"};
const AgentConnection there{"replica-2", "4a", "culvert-agent_0.4.0"};

/// A policy with its objects, as the informer has them.
struct AgentPolicyTest : ::testing::Test {
  AgentObject& add(const std::string& name) {
    AgentObject made{.name_space = "culvert",
                     .name = name,
                     .uid = "u-" + name,
                     .version = "1",
                     .created = name,
                     .generation = 3,
                     .account = "acme",
                     .agent = name,
                     .enabled = true};
    return objects.insert_or_assign("culvert/" + name, std::move(made)).first->second;
  }
  AgentObject& agent() { return objects.at("culvert/gate"); }
  void plan() {
    planned = plan_agents(objects);
    policy.plan(objects, planned);
  }
  std::optional<Kind> work(std::chrono::seconds after = 0s) {
    plan();
    last = policy.next_work("culvert/gate", start + after, today + after);
    return last ? std::optional(last->kind) : std::nullopt;
  }
  std::optional<StatusWrite> status(std::vector<AgentConnection> connections = {}, std::chrono::seconds after = 0s) {
    plan();
    return policy.next_status("culvert/gate", connections, start + after, today + after);
  }
  /// The API server has taken the write, and the watch has brought it back.
  void take(const StatusWrite& write, std::chrono::seconds after = 0s) {
    policy.note_written(write, start + after);
    agent().status = write.status;
    agent().version += "+";
  }
  /// The object's first token, with its Secret.
  TokenNote issue(std::chrono::seconds after = 0s, const std::string& id = "t1") {
    TokenNote token{.id = id,
                    .hash = {},
                    .not_after = today + after + 1h,
                    .identity = "acme//gate",
                    .secret_name = {},
                    .used_by = {}};
    EXPECT_EQ(work(after), Kind::make_token);
    take(AgentPolicy::token_write(*last, token), after);
    policy.note_made("culvert/gate", token);
    if (const auto write = status({}, after)) take(*write, after);
    return token;
  }
  void join(std::chrono::seconds lifetime = 24h) {
    if (agent().status.contains("joinToken")) agent().status = with_used_token(agent().status, {"t1", {}, {}}, today);
    agent().status = with_certificate(agent().status, plan_agent(agent()).record, {"4a", today, today + lifetime});
    agent().version += "j";
  }
  void settle(const std::vector<AgentConnection>& connections = {}, std::chrono::seconds after = 0s) {
    while (const auto write = status(connections, after)) take(*write, after);
  }
  std::string condition(std::string_view type) {
    const json::object& found = condition_in(agent().status, type);
    return text_at(found, "status") + " " + text_at(found, "reason");
  }
  std::string secret_name() { return text_at(object_at(agent().status, "joinToken"), "secretName"); }

  AgentObjects objects;
  PlannedAgents planned;
  AgentPolicy policy;
  std::optional<AgentWork> last;
};

TEST_F(AgentPolicyTest, gives_a_new_agent_a_token) {
  add("gate");
  const TokenNote token = issue();
  EXPECT_FALSE(work());
  EXPECT_EQ(token_of(agent())->id, "t1");
  EXPECT_EQ(secret_name(), "culvert-join-gate");
  EXPECT_EQ(condition("Joined"), "False TokenIssued");
  EXPECT_EQ(condition("Connected"), "False NotConnected");
  EXPECT_EQ(condition("CertificateValid"), "False NotJoined");
  EXPECT_EQ(condition("Ready"), "False TokenIssued");
  EXPECT_EQ(number_at(agent().status, "observedGeneration"), 3);
  EXPECT_FALSE(status({}, 60s)) << "nothing has changed";
}

TEST_F(AgentPolicyTest, decides_nothing_while_its_own_write_has_not_come_back) {
  add("gate");
  ASSERT_EQ(work(), Kind::make_token);
  policy.note_written(AgentPolicy::token_write(*last, {.id = "t1", .identity = "acme//gate"}), start);
  EXPECT_FALSE(work(10s));
  EXPECT_FALSE(status({}, 10s));
  EXPECT_EQ(work(11s), Kind::make_token) << "it has got lost";
}

TEST_F(AgentPolicyTest, writes_only_over_the_version_that_it_has_seen) {
  add("gate").version = "41";
  ASSERT_EQ(work(), Kind::make_token);
  EXPECT_EQ(AgentPolicy::token_write(*last, {}).version, "41");
  EXPECT_EQ(status()->version, "41");
}

TEST_F(AgentPolicyTest, removes_the_secret_of_a_used_token) {
  add("gate");
  issue();
  join();
  EXPECT_EQ(work(), Kind::remove_secret);
  EXPECT_EQ(last->object.name, "gate");
  policy.note_removed("culvert/gate");
  EXPECT_FALSE(work());
  settle();
  EXPECT_EQ(secret_name(), "");
  EXPECT_EQ(token_of(agent())->id, "t1") << "a second user is told that it was used";
  EXPECT_FALSE(token_of(agent())->used_by.empty());
  EXPECT_EQ(condition("Joined"), "True Joined");
  EXPECT_FALSE(work(2h));
}

TEST_F(AgentPolicyTest, removes_the_secret_of_an_unused_token_at_its_end_and_makes_no_other) {
  add("gate");
  issue();
  EXPECT_FALSE(work(3599s));
  EXPECT_EQ(work(3600s), Kind::remove_secret);
  policy.note_removed("culvert/gate");
  EXPECT_FALSE(work(3600s));
  settle({}, 3600s);
  EXPECT_EQ(condition("Joined"), "False TokenExpired");
  EXPECT_NE(text_at(condition_in(agent().status, "Joined"), "message").find("culvert.dev/rejoin"), std::string::npos)
      << "it says what to do";
  EXPECT_FALSE(work(48h));
}

TEST_F(AgentPolicyTest, makes_another_token_for_each_new_value_of_rejoin) {
  add("gate").rejoin = "0";
  issue();
  EXPECT_FALSE(work()) << "the first token is for this value, too";
  join();
  work();
  policy.note_removed("culvert/gate");
  settle();
  EXPECT_FALSE(work());
  agent().rejoin = "1";
  issue(0s, "t2");
  EXPECT_EQ(text_at(agent().status, "rejoinHandled"), "1");
  EXPECT_FALSE(work());
  const auto token = token_of(agent());
  EXPECT_EQ(token->id, "t2");
  EXPECT_EQ(token->used_by, "") << "the use of the older one is not that of this one";
  EXPECT_EQ(condition("Joined"), "True Joined") << "its certificate goes on counting";
  agent().rejoin = "";
  EXPECT_FALSE(work());
}

TEST_F(AgentPolicyTest, makes_a_lost_token_anew) {
  add("gate");
  ASSERT_EQ(work(), Kind::make_token);
  take(AgentPolicy::token_write(*last, {.id = "t1", .not_after = today + 1h, .identity = "acme//gate"}));
  AgentPolicy successor;  // This one has ended before it could make the Secret.
  plan();
  successor.plan(objects, planned);
  const auto next = successor.next_work("culvert/gate", start, today);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->kind, Kind::make_token);
}

TEST_F(AgentPolicyTest, lets_a_successor_go_on) {
  add("gate");
  issue();
  AgentPolicy successor;
  plan();
  successor.plan(objects, planned);
  EXPECT_FALSE(successor.next_work("culvert/gate", start, today));
  EXPECT_FALSE(successor.next_status("culvert/gate", {}, start, today));
  EXPECT_EQ(successor.next_work("culvert/gate", start, today + 1h)->kind, Kind::remove_secret);
}

TEST_F(AgentPolicyTest, gives_a_disabled_agent_no_token) {
  add("gate").enabled = false;
  agent().rejoin = "1";
  EXPECT_FALSE(work());
  settle();
  EXPECT_EQ(condition("Joined"), "False Disabled");
  EXPECT_EQ(condition("Connected"), "False Disabled");
  agent().enabled = true;
  EXPECT_EQ(work(), Kind::make_token);
}

TEST_F(AgentPolicyTest, makes_a_token_for_the_agent_that_the_object_names_now) {
  add("gate");
  issue();
  agent().location = "plant-1";
  EXPECT_EQ(work(), Kind::make_token);
  EXPECT_EQ(last->record.location, "plant-1");
  join();
  agent().status.erase("joinToken");
  agent().agent = "other";
  EXPECT_EQ(work(), Kind::make_token) << "another one has joined";
}

TEST_F(AgentPolicyTest, tries_again_after_a_failure) {
  add("gate");
  ASSERT_EQ(work(), Kind::make_token);
  policy.note_failed("culvert/gate", Error{"kubernetes.refused", "403 forbidden"}, start);
  EXPECT_FALSE(work(9s));
  settle({}, 9s);
  EXPECT_EQ(condition("Joined"), "False TokenFailed");
  EXPECT_EQ(text_at(condition_in(agent().status, "Joined"), "message"), "403 forbidden");
  issue(10s);
  EXPECT_EQ(condition("Joined"), "False TokenIssued");
}

TEST_F(AgentPolicyTest, reports_a_duplicate_and_gives_it_no_token) {
  add("a").agent = "gate";
  add("gate");
  EXPECT_FALSE(work());
  settle();
  for (const char* type : {"Joined", "Connected", "CertificateValid"}) EXPECT_EQ(condition(type), "False Duplicate");
  EXPECT_NE(text_at(condition_in(agent().status, "Joined"), "message").find("object a "), std::string::npos);
  objects.erase("culvert/a");
  EXPECT_EQ(work(), Kind::make_token);
}

TEST_F(AgentPolicyTest, takes_the_token_from_an_object_that_does_not_count_any_more) {
  add("gate");
  issue();
  agent().lifetime = "soon";
  EXPECT_EQ(work(), Kind::remove_secret);
  policy.note_removed("culvert/gate");
  settle();
  EXPECT_EQ(condition("Joined"), "False BadLifetime");
}

TEST_F(AgentPolicyTest, reports_where_the_agent_is_connected) {
  add("gate");
  issue();
  join();
  settle({here, there});
  EXPECT_EQ(condition("Connected"), "True Connected");
  EXPECT_EQ(condition("CertificateValid"), "True Valid");
  EXPECT_EQ(condition("Ready"), "True Ready");
  EXPECT_EQ(text_at(agent().status, "version"), "0.4.0");
  EXPECT_EQ(json::serialize(agent().status.at("replicas")), R"(["replica-1","replica-2"])");
  settle({there});
  EXPECT_EQ(json::serialize(agent().status.at("replicas")), R"(["replica-2"])");
  settle({});
  EXPECT_EQ(condition("Connected"), "False NotConnected");
  EXPECT_EQ(agent().status.at("replicas"), json::array());
  EXPECT_EQ(text_at(agent().status, "version"), "0.4.0") << "the last one that was seen";
}

TEST_F(AgentPolicyTest, writes_seldom_when_the_agent_was_seen) {
  add("gate");
  issue();
  join();
  const auto seen = [this] { return text_at(agent().status, "lastSeen"); };
  settle();
  EXPECT_EQ(seen(), "");
  settle({here}, 60s);
  EXPECT_EQ(seen(), "2026-05-01T00:01:00Z");
  EXPECT_FALSE(status({here}, 3659s)) << "it stays connected";
  settle({here}, 3660s);
  EXPECT_EQ(seen(), "2026-05-01T01:01:00Z");
  settle({}, 3700s);
  EXPECT_EQ(seen(), "2026-05-01T01:01:40Z");
  EXPECT_FALSE(status({}, 20h));
}

TEST_F(AgentPolicyTest, reports_the_end_of_a_certificate) {
  add("gate");
  issue();
  join(10min);
  settle({here});
  EXPECT_FALSE(status({here}, 599s));
  settle({here}, 600s);
  EXPECT_EQ(condition("CertificateValid"), "False Expired");
  EXPECT_EQ(condition("Ready"), "False Expired");
}

TEST_F(AgentPolicyTest, leaves_what_is_going_or_gone_alone) {
  add("gate").is_going = true;
  EXPECT_FALSE(work());
  EXPECT_FALSE(status());
  objects.clear();
  EXPECT_FALSE(work());
  EXPECT_TRUE(policy.keys().empty());
}

TEST_F(AgentPolicyTest, knows_nothing_of_an_older_object_of_the_same_name) {
  add("gate");
  issue();
  add("gate").uid = "another";
  EXPECT_EQ(work(), Kind::make_token);
}

}  // namespace
}  // namespace culvert::server
