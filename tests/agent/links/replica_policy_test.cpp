// SPDX-License-Identifier: Apache-2.0
#include "agent/links/replica_policy.hpp"

#include <gtest/gtest.h>

#include "protocol/limits.hpp"

namespace culvert::agent {
namespace {

using Names = std::vector<std::string>;

LinkView up(std::string replica, Names announced) {
  return {.replica = std::move(replica), .is_up = true, .announced_replicas = std::move(announced)};
}
/// What it announced while it was up does not count any more.
LinkView down(std::string replica, Names announced = {}) {
  return {.replica = std::move(replica), .announced_replicas = std::move(announced)};
}
LinkView given_up(std::string replica) {
  return {.replica = std::move(replica), .has_given_up = true, .announced_replicas = {}};
}

std::string to_text(const ReplicaDecision& decision) {
  std::string text;
  for (const std::size_t link : decision.retire) text += " retire " + std::to_string(link);
  for (const std::string& name : decision.add) text += " add " + name;
  if (decision.begin_anew) text += " begin anew";
  return text.empty() ? "nothing" : text.substr(1);
}

struct Case {
  const char* situation;
  std::vector<LinkView> links;
  const char* decision;
};

TEST(ReplicaPolicy, decides_by_what_the_links_that_are_up_announce) {
  const std::vector<Case> cases{
      {"no link is up yet", {down("")}, "nothing"},
      {"a server without names has one link", {up("", {""})}, "nothing"},
      {"the first replica announces the others", {up("b", {"c", "b", "a"})}, "add a add c"},
      {"every announced replica has a link", {up("a", {"a", "b"}), up("b", {"a", "b"})}, "nothing"},
      {"a link that is not up yet stays if its replica is announced", {up("a", {"a", "b"}), down("b")}, "nothing"},
      {"a replica that one list still has stays", {up("a", {"a"}), up("b", {"a", "b"})}, "nothing"},
      {"a replica that no list has is retired", {up("a", {"a", "c"}), down("b"), up("c", {"a", "c"})}, "retire 1"},
      {"a link that is up is retired if no list has it", {up("a", {"b"}), up("b", {"b"})}, "retire 0"},
      {"one replica is replaced by another", {up("a", {"a", "c"}), down("b")}, "retire 1 add c"},
      {"lists of links that are down do not count", {up("a", {"a"}), down("b", {"a", "b", "c"})}, "retire 1"},
      {"a server got a name", {up("a", {"a"}), down("")}, "retire 1"},
      {"two lists name the same new replica", {up("a", {"a", "b", "c"}), up("b", {"a", "b", "c"})}, "add c"},
      {"a name stands twice in a list", {up("a", {"a", "b", "b"})}, "add b"},
  };
  for (const Case& each : cases) EXPECT_EQ(to_text(decide_replicas(each.links)), each.decision) << each.situation;
}

TEST(ReplicaPolicy, begins_anew_once_no_link_is_up_and_one_has_given_up) {
  const std::vector<Case> cases{
      {"all are down, and none has given up", {down("a", {"a", "b"}), down("b")}, "nothing"},
      {"the only one has given up", {given_up("a")}, "begin anew"},
      {"one of several has given up", {down("a"), given_up("b"), down("c")}, "begin anew"},
      {"one is up, so the list decides", {up("a", {"a", "b"}), given_up("b")}, "nothing"},
      {"one is up, and no list has the other any more", {up("a", {"a"}), given_up("b")}, "retire 1"},
      {"there are no links", {}, "nothing"},
  };
  for (const Case& each : cases) EXPECT_EQ(to_text(decide_replicas(each.links)), each.decision) << each.situation;
}

TEST(ReplicaPolicy, has_no_more_links_than_the_protocol_allows_replicas) {
  Names names;
  for (std::size_t i = 0; i <= protocol::replicas_max; ++i) names.push_back("replica-" + std::to_string(1000 + i));
  const std::vector first{up(names.front(), names)};
  const auto decision = decide_replicas(first);
  EXPECT_EQ(decision.add.size(), protocol::replicas_max - 1) << "one has its link";
  EXPECT_EQ(decision.add.front(), "replica-1001") << "in order";

  std::vector<LinkView> full;
  for (std::size_t i = 0; i < protocol::replicas_max; ++i) full.push_back(up(names[i], names));
  EXPECT_EQ(to_text(decide_replicas(full)), "nothing");
  for (LinkView& link : full) link.announced_replicas.erase(link.announced_replicas.begin());
  EXPECT_EQ(to_text(decide_replicas(full)), "retire 0 add " + names.back()) << "a retired link makes room";
}

TEST(ReplicaPolicy, tries_three_times_for_each_link) {
  EXPECT_EQ(quick_tries_max(1), 3U);
  EXPECT_EQ(quick_tries_max(4), 12U);
}

TEST(ReplicaPolicy, links_may_be_one_to_the_server_unless_they_have_different_names) {
  EXPECT_TRUE(may_be_same_link("a", "a"));
  EXPECT_TRUE(may_be_same_link("", "a")) << "any replica may answer";
  EXPECT_TRUE(may_be_same_link("a", "")) << "the server had no name then";
  EXPECT_TRUE(may_be_same_link("", ""));
  EXPECT_FALSE(may_be_same_link("a", "b"));
}

}  // namespace
}  // namespace culvert::agent
