// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/cluster_secrets.hpp"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using State = ClusterSecret::State;
using Names = std::vector<std::string>;
const ClusterSecrets::Time start{1000h};

boost::json::value secret(std::string_view version, std::string_view user = "Y3VsdmVydA==") {
  return {{"metadata", {{"resourceVersion", version}}}, {"data", {{"username", user}, {"broken", "*"}}}};
}

TEST(ClusterSecrets, are_read_at_once_and_then_each_minute) {
  ClusterSecrets secrets;
  EXPECT_EQ(secrets.next_due(), ClusterSecrets::Time::max());
  secrets.follow({"a", "b"}, start);
  EXPECT_EQ(secrets.due(start), (Names{"a", "b"}));
  EXPECT_FALSE(secrets.are_read({"a"}));
  EXPECT_TRUE(secrets.note_answer("a", 200, secret("1"), "", start));
  EXPECT_TRUE(secrets.are_read({"a"}));
  EXPECT_EQ(secrets.due(start), Names{"b"});
  EXPECT_EQ(secrets.due(start + 59s), Names{"b"});
  EXPECT_EQ(secrets.due(start + 60s), (Names{"a", "b"}));
  EXPECT_EQ(secrets.find("a")->find("username")->reveal(), "culvert");
  EXPECT_EQ(secrets.find("a")->find("broken"), nullptr);
  EXPECT_EQ(secrets.find("a")->find("other"), nullptr);
}

TEST(ClusterSecrets, those_that_nobody_names_are_forgotten) {
  ClusterSecrets secrets;
  secrets.follow({"a"}, start);
  secrets.note_answer("a", 200, secret("1"), "", start);
  secrets.follow({"b"}, start + 1s);
  EXPECT_EQ(secrets.find("a"), nullptr);
  EXPECT_EQ(secrets.due(start + 1s), Names{"b"});
  EXPECT_FALSE(secrets.note_answer("a", 200, secret("2"), "", start + 2s)) << "it was asked for before";
}

TEST(ClusterSecrets, report_a_change_once) {
  ClusterSecrets secrets;
  secrets.follow({"a"}, start);
  EXPECT_TRUE(secrets.note_answer("a", 404, {}, "404", start));
  EXPECT_EQ(secrets.find("a")->state, State::missing);
  EXPECT_EQ(secrets.next_due(), start + ClusterSecrets::retry) << "somebody is about to make it";
  EXPECT_FALSE(secrets.note_answer("a", 404, {}, "404", start));
  EXPECT_TRUE(secrets.note_answer("a", 200, secret("1"), "", start));
  EXPECT_FALSE(secrets.note_answer("a", 200, secret("1"), "", start));
  EXPECT_TRUE(secrets.note_answer("a", 200, secret("2", "bmV3"), "", start));
  EXPECT_EQ(secrets.find("a")->find("username")->reveal(), "new");
  EXPECT_TRUE(secrets.note_answer("a", 404, {}, "404", start));
  EXPECT_EQ(secrets.find("a")->find("username"), nullptr);
}

TEST(ClusterSecrets, what_is_known_stays_while_the_api_fails) {
  ClusterSecrets secrets;
  secrets.follow({"a", "b"}, start);
  secrets.note_answer("a", 200, secret("1"), "", start);
  secrets.note_failure("a", start + 60s);
  EXPECT_FALSE(secrets.note_answer("a", 403, {}, "403 no", start + 70s));
  EXPECT_EQ(secrets.find("a")->state, State::there);
  secrets.note_failure("b", start);
  EXPECT_FALSE(secrets.are_read({"b"}));
  EXPECT_EQ(secrets.due(start + 9s), Names{});
  EXPECT_TRUE(secrets.note_answer("b", 403, {}, "403 no", start));
  EXPECT_FALSE(secrets.note_answer("b", 403, {}, "403 no", start));
  EXPECT_EQ(secrets.find("b")->refusal, "403 no");
}

TEST(ClusterSecrets, are_read_soon_after_a_refused_login_but_not_all_the_time) {
  ClusterSecrets secrets;
  secrets.follow({"a"}, start);
  const auto read = [&](ClusterSecrets::Time now) { secrets.note_answer("a", 200, secret("1"), "", now); };
  read(start);
  secrets.look_now(start + 1s);
  EXPECT_EQ(secrets.next_due(), start + 1s);
  read(start + 1s);
  secrets.look_now(start + 2s);
  secrets.look_now(start + 3s);
  EXPECT_EQ(secrets.next_due(), start + 6s) << "5 s after the first time, however many ask";
  read(start + 6s);
  secrets.look_now(start + 30s);
  EXPECT_EQ(secrets.next_due(), start + 30s);
}

}  // namespace
}  // namespace culvert::server
