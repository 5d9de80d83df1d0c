// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/agents_command.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/server/enrolment/opened_state.hpp"
#include "tests/testing/temporary_directory.hpp"

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using testing::claim_of;
using testing::note_of;
using testing::OpenedState;
using testing::TemporaryDirectory;

class AgentsCommandTest : public ::testing::Test {
 protected:
  static StateDirectoryOptions options(const std::chrono::system_clock::time_point& now) {
    StateDirectoryOptions options;
    options.now = [&now] { return now; };
    return options;
  }
  Result<std::string> run(std::string line) { return state_.wait(command_.run(std::move(line))); }
  std::string text(std::string line) {
    auto answer = run(std::move(line));
    return answer ? *answer : answer.error().code + ": " + answer.error().text;
  }
  std::string fault(std::string line) {
    auto answer = run(std::move(line));
    EXPECT_FALSE(answer) << *answer;
    if (answer) return "";
    EXPECT_EQ(answer.error().code, "admin.bad_argument");
    return answer.error().text;
  }

  std::chrono::system_clock::time_point now_{1'700'000'000s};
  TemporaryDirectory directory_;
  OpenedState state_{directory_.path(), options(now_)};
  NewToken last_;  ///< Of the last call of the text's maker.
  AgentsCommand command_{*state_,
                         [this](const AgentRecord& agent, std::string_view id, const protocol::TokenSecret& secret) {
                           last_.id = id;
                           last_.secret = secret;
                           return "TOKEN-for-" + key_of(agent);
                         }};
};

TEST_F(AgentsCommandTest, adds_an_agent_and_prints_only_its_token) {
  EXPECT_EQ(text("add edge-1 --account acme"), "TOKEN-for-acme//edge-1\n");
  EXPECT_TRUE(state_.wait(state_->check(claim_of(last_))));
  EXPECT_EQ(text("  add --agent box --location berlin edge-2  --account acme --lifetime 30d "),
            "TOKEN-for-acme/berlin/box\n");
  EXPECT_EQ(state_->show("edge-2")->record.lifetime, 720h);
  EXPECT_EQ(state_->show("edge-1")->record.lifetime, std::nullopt);
}

TEST_F(AgentsCommandTest, prints_a_token_as_json) {
  EXPECT_EQ(text("add edge-1 --account acme --json"),
            R"({"name":"edge-1","token":"TOKEN-for-acme//edge-1","expires":"2023-11-14T23:13:20Z"})"
            "\n");
  now_ += 60s;
  EXPECT_EQ(text("token --json edge-1"),
            R"({"name":"edge-1","token":"TOKEN-for-acme//edge-1","expires":"2023-11-14T23:14:20Z"})"
            "\n");
}

TEST_F(AgentsCommandTest, makes_a_new_token) {
  text("add edge-1 --account acme");
  const auto first = claim_of(last_);
  EXPECT_EQ(text("token edge-1"), "TOKEN-for-acme//edge-1\n");
  EXPECT_FALSE(state_.wait(state_->check(first)));
  EXPECT_TRUE(state_.wait(state_->check(claim_of(last_))));
}

TEST_F(AgentsCommandTest, lists_the_agents_with_their_state) {
  const auto add = [this](const std::string& rest) {
    text("add " + rest);
    return claim_of(last_);
  };
  EXPECT_EQ(text("list"), "NAME  ACCOUNT  LOCATION  AGENT  STATE  JOINED  EXPIRES\n");
  EXPECT_EQ(text("list --json"), "[]\n");
  const auto claim = add("edge-1 --account acme --location berlin --agent box");
  ASSERT_TRUE(state_.wait(state_->take(claim, state_->show("edge-1")->record, note_of("1a"))));
  add("late --account acme");
  now_ += 2h;
  add("new --account acme");
  add("off --account acme");
  text("disable off");
  EXPECT_EQ(text("list"),
            "NAME    ACCOUNT  LOCATION  AGENT  STATE          JOINED                EXPIRES\n"
            "edge-1  acme     berlin    box    joined         2023-11-14T22:13:20Z  2023-12-14T22:13:20Z\n"
            "late    acme     -         late   token-expired  -                     -\n"
            "new     acme     -         new    waiting        -                     -\n"
            "off     acme     -         off    disabled       -                     -\n");
  now_ += 30 * 24h;
  EXPECT_TRUE(text("list").contains("box    expired"));
  text("token edge-1");
  EXPECT_TRUE(text("list").contains("box    waiting"));
  const std::string json = text("list --json");
  EXPECT_TRUE(json.starts_with(R"([{"name":"edge-1","account":"acme","location":"berlin","agent":"box",)")) << json;
  EXPECT_TRUE(json.contains(R"("state":"waiting","enabled":true,"created":"2023-11-14T22:13:20Z",)")) << json;
}

TEST_F(AgentsCommandTest, shows_one_agent) {
  text("add edge-1 --account acme --lifetime 36h");
  ASSERT_TRUE(state_.wait(state_->take(claim_of(last_), state_->show("edge-1")->record, note_of("1a"))));
  EXPECT_EQ(text("show edge-1"),
            "name           edge-1\n"
            "account        acme\n"
            "location       -\n"
            "agent          edge-1\n"
            "state          joined\n"
            "enabled        true\n"
            "created        2023-11-14T22:13:20Z\n"
            "lifetime       36h\n"
            "joined         2023-11-14T22:13:20Z\n"
            "serial         1a\n"
            "issued         2023-11-14T22:13:20Z\n"
            "expires        2023-12-14T22:13:20Z\n"
            "token_expires  2023-11-14T23:13:20Z\n"
            "token_used     true\n");
  EXPECT_TRUE(text("show edge-1 --json").starts_with(R"({"name":"edge-1","account":"acme","location":"",)"));
}

TEST_F(AgentsCommandTest, says_what_was_done) {
  text("add edge-1 --account acme");
  EXPECT_EQ(text("disable edge-1"), "agent \"edge-1\" is disabled: its tunnels end, and new ones are refused\n");
  EXPECT_FALSE(state_->show("edge-1")->record.enabled);
  EXPECT_EQ(text("enable edge-1 --json"), "{\"name\":\"edge-1\",\"enabled\":true}\n");
  EXPECT_EQ(text("enable edge-1"), "agent \"edge-1\" is enabled: it may connect and join\n");
  EXPECT_EQ(text("remove edge-1"), "agent \"edge-1\" is removed: the server does not know it any more\n");
  text("add edge-1 --account acme");
  EXPECT_EQ(text("remove edge-1 --json"), "{\"name\":\"edge-1\",\"removed\":true}\n");
  EXPECT_TRUE(state_->list().empty());
}

TEST_F(AgentsCommandTest, names_the_agents_that_exist_if_they_are_few) {
  EXPECT_EQ(text("show edge-1"), "enrolment.unknown: there is no agent \"edge-1\"; there are none yet");
  for (int i = 0; i < 10; ++i) text(fmt::format("add a{} --account acme", i));
  for (const std::string verb : {"show", "token", "disable", "enable", "remove"}) {
    EXPECT_EQ(text(verb + " edge-1"),
              "enrolment.unknown: there is no agent \"edge-1\"; there are: a0, a1, a2, a3, a4, a5, a6, a7, a8, a9");
  }
  text("add b --account acme");
  EXPECT_EQ(text("show edge-1"), "enrolment.unknown: there is no agent \"edge-1\"; `agents list` shows them");
}

TEST_F(AgentsCommandTest, reports_what_is_already_there) {
  text("add edge-1 --account acme");
  EXPECT_TRUE(text("add edge-1 --account other").starts_with("enrolment.exists: agent \"edge-1\" exists already"));
  EXPECT_TRUE(text("add edge-2 --agent edge-1 --account acme").starts_with("enrolment.exists: agent \"edge-1\" has"));
}

TEST_F(AgentsCommandTest, says_what_to_write_instead) {
  for (const std::string line : {"",
                                 "  ",
                                 "ad",
                                 "--json",
                                 "list edge-1",
                                 "list --account acme",
                                 "show",
                                 "token",
                                 "disable",
                                 "enable",
                                 "remove --json",
                                 "show a b",
                                 "show a --account b",
                                 "add",
                                 "add --account",
                                 "add edge-1 --account",
                                 "add edge-1 --account --json",
                                 "add edge-1 --account a --account b",
                                 "add edge-1 --account a --bad",
                                 "add -h"}) {
    EXPECT_TRUE(fault(line).contains("agents add NAME --account ACCOUNT")) << line;
  }
  EXPECT_TRUE(fault("add edge-1").starts_with("--account is missing"));
  EXPECT_TRUE(fault("add --account acme").starts_with("the agent's name is missing"));
  EXPECT_TRUE(fault("add edge-1 --account a/b").contains("\"a/b\" is not a valid name"));
  EXPECT_TRUE(fault("add e*1 --account a").contains("\"e*1\" is not a valid name"));
  for (const std::string lifetime : {"30", "d", "-1h", "59m", "366d", "1y", "99999999999999999999d"})
    EXPECT_TRUE(fault("add edge-1 --account a --lifetime " + lifetime).contains("--lifetime")) << lifetime;
  EXPECT_TRUE(fault("add edge-1 --account a --lifetime 5").contains("\"1h\" to \"365d\""));
  EXPECT_TRUE(state_->list().empty());
}

}  // namespace
}  // namespace culvert::server
