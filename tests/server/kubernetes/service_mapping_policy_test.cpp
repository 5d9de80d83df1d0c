// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_mapping_policy.hpp"

#include <gtest/gtest.h>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using Step = ServiceMappingPolicy::TableStep;
const ServiceMappingPolicy::Time start{1000h};
const auto no_agent = [](const std::string&, const std::string&) { return false; };
const auto some_agent = [](const std::string&, const std::string& location) { return location == "plant-1"; };

ServiceMappingObject object(std::string name, std::string address = "web.shop:80") {
  return {.name = name,
          .uid = "u",
          .version = "1",
          .created = "2026-01-01T00:00:00Z",
          .generation = 3,
          .account = "acme",
          .type = "TCP",
          .service_id = name,
          .internal_address = std::move(address)};
}

/// A policy with its objects, as the informer has them.
struct ServiceMappingPolicyTest : ::testing::Test {
  void put(ServiceMappingObject made) {
    objects.insert_or_assign(made.name, std::move(made));
    policy.plan(objects);
  }
  std::vector<std::string> lookups() {
    std::vector<std::string> all;
    while (auto next = policy.next_lookup()) all.push_back(next->text);
    return all;
  }
  /// The names of the services in the table, with their ports.
  std::map<std::string, int> table() {
    std::map<std::string, int> ports;
    for (const ServiceMapping& each : policy.table()) ports[each.service_id] = each.internal_address.port;
    return ports;
  }
  std::optional<StatusWrite> status(const std::string& name, std::chrono::seconds after = 0s,
                                    const ServiceMappingPolicy::HasAgent& has_agent = no_agent) {
    return policy.next_status(objects.at(name), has_agent, start + after, "2026-01-01T00:00:01Z");
  }
  static std::string reason(const StatusWrite& write, std::string_view type) {
    return text_at(condition_in(write.status, type), "reason");
  }

  KubernetesSettings settings;
  ServiceMappingPolicy::Objects objects;
  ServiceMappingPolicy policy{settings};
};

TEST_F(ServiceMappingPolicyTest, publishes_nothing_before_everything_has_come) {
  put(object("web"));
  EXPECT_EQ(policy.next_table(false, start), Step::wait);
  EXPECT_FALSE(policy.has_table());
  EXPECT_EQ(policy.next_table(true, start), Step::publish);
  EXPECT_EQ(table(), (std::map<std::string, int>{{"web", 80}}));
}

TEST_F(ServiceMappingPolicyTest, publishes_an_empty_table_once) {
  policy.plan(objects);
  EXPECT_EQ(policy.next_table(true, start), Step::publish);
  EXPECT_TRUE(policy.table().empty());
  EXPECT_EQ(policy.next_table(true, start), Step::wait);
}

TEST_F(ServiceMappingPolicyTest, publishes_only_another_table) {
  put(object("web"));
  EXPECT_EQ(policy.next_table(true, start), Step::publish);
  EXPECT_EQ(policy.next_table(true, start), Step::wait);
  auto refused = object("refused");
  refused.type = "UDP";
  put(refused);
  EXPECT_EQ(policy.next_table(true, start), Step::wait) << "a refused object leads nowhere";
  put(object("other"));
  EXPECT_EQ(policy.next_table(true, start), Step::publish);
  EXPECT_EQ(table(), (std::map<std::string, int>{{"other", 80}, {"web", 80}}));
  objects.clear();
  policy.plan(objects);
  EXPECT_EQ(policy.next_table(true, start), Step::publish);
  EXPECT_TRUE(policy.table().empty());
}

TEST_F(ServiceMappingPolicyTest, waits_a_while_for_a_named_port_before_the_first_table) {
  put(object("web"));
  put(object("named", "web.shop:http"));
  EXPECT_EQ(policy.next_table(true, start), Step::look_again);
  EXPECT_EQ(policy.next_table(true, start + 1999ms), Step::look_again);
  EXPECT_EQ(policy.next_table(true, start + 2s), Step::publish);
  EXPECT_EQ(table(), (std::map<std::string, int>{{"web", 80}})) << "the other's port is not known yet";
  EXPECT_TRUE(policy.take_target("web.shop:http", {.port = 8080, .is_resolved = true}, true));
  EXPECT_EQ(policy.next_table(true, start + 2s), Step::publish);
  EXPECT_EQ(table(), (std::map<std::string, int>{{"named", 8080}, {"web", 80}}));
  put(object("late", "web.shop:late"));
  EXPECT_EQ(policy.next_table(true, start + 3s), Step::wait) << "a later table does not wait";
}

TEST_F(ServiceMappingPolicyTest, publishes_the_first_table_as_soon_as_all_targets_are_known) {
  put(object("named", "web.shop:http"));
  EXPECT_EQ(policy.next_table(true, start), Step::look_again);
  EXPECT_FALSE(policy.take_target("web.shop:http", {.why_not = "no such port"}, true));
  EXPECT_EQ(policy.next_table(true, start), Step::publish) << "that there is no such port is known";
  EXPECT_TRUE(policy.table().empty());
}

TEST_F(ServiceMappingPolicyTest, waits_for_endpoints_where_they_are_followed) {
  settings.endpoint_slices = true;
  put(object("web"));
  policy.take_target("web.shop:80", {.port = 80, .why_not = "have not come yet"}, false);
  EXPECT_EQ(policy.next_table(true, start), Step::look_again) << "it was looked up before all had come";
  EXPECT_TRUE(policy.take_target("web.shop:80", {80, {{{"10.0.0.1", 8080}}}, true, ""}, true));
  EXPECT_EQ(policy.next_table(true, start), Step::publish);
  EXPECT_EQ(policy.table().front().endpoints, (std::vector<Endpoint>{{"10.0.0.1", 8080}}));
  EXPECT_FALSE(policy.take_target("web.shop:80", {80, {{{"10.0.0.1", 8080}}}, true, ""}, true)) << "as before";
}

TEST_F(ServiceMappingPolicyTest, dials_a_name_only_where_its_endpoints_are_not_the_clusters) {
  settings.endpoint_slices = true;
  settings.allow_address_targets = true;
  put(object("web"));
  put(object("none", "none.shop:80"));
  put(object("external", "external.shop:80"));
  put(object("literal", "192.0.2.1:80"));
  policy.take_target("none.shop:80", {80, std::vector<Endpoint>(), false, "no ready endpoint"}, true);
  policy.take_target("external.shop:80", {.port = 80, .is_resolved = true}, true);
  EXPECT_EQ(policy.next_table(true, start), Step::look_again) << "web is not known yet";
  EXPECT_EQ(policy.next_table(true, start + 2s), Step::publish);
  std::map<std::string, std::string> ways;
  for (const ServiceMapping& each : policy.table())
    ways[each.service_id] = !each.endpoints ? "by name" : each.endpoints->empty() ? "refused" : "endpoints";
  EXPECT_EQ(ways, (std::map<std::string, std::string>{
                      {"external", "by name"}, {"literal", "by name"}, {"none", "refused"}, {"web", "refused"}}));
  EXPECT_EQ(reason(*status("none"), "TargetResolved"), "NotFound");
  EXPECT_EQ(reason(*status("external"), "TargetResolved"), "Resolved");
  EXPECT_TRUE(policy.take_target("none.shop:80", {80, {{{"10.0.0.1", 8080}}}, true, ""}, true));
  EXPECT_TRUE(policy.take_target("none.shop:80", {80, std::vector<Endpoint>(), false, "no ready endpoint"}, true));
  EXPECT_TRUE(policy.take_target("none.shop:80", {.port = 80, .is_resolved = true}, true)) << "an ExternalName now";
}

TEST_F(ServiceMappingPolicyTest, keeps_a_named_port_while_it_cannot_be_looked_up) {
  put(object("named", "web.shop:http"));
  EXPECT_TRUE(policy.take_target("web.shop:http", {.port = 8080, .is_resolved = true}, true));
  EXPECT_FALSE(policy.take_target("web.shop:http", {.why_not = "timed out"}, true));
  EXPECT_EQ(policy.next_table(true, start), Step::publish);
  EXPECT_EQ(table(), (std::map<std::string, int>{{"named", 8080}}));
}

TEST_F(ServiceMappingPolicyTest, looks_up_each_target_once_and_again_on_demand) {
  using Texts = std::vector<std::string>;
  put(object("a", "one.shop:80"));
  put(object("b", "one.shop:80"));
  put(object("c", "two.shop:80"));
  put(object("d", "one.shop.svc:http"));
  auto refused = object("e", "three.shop:80");
  refused.type = "UDP";
  put(refused);
  EXPECT_TRUE(policy.has_lookup());
  EXPECT_EQ(lookups(), (Texts{"one.shop:80", "two.shop:80", "one.shop.svc:http"}));
  EXPECT_FALSE(policy.has_lookup());
  policy.plan(objects);
  EXPECT_EQ(lookups(), Texts{}) << "nothing is new";
  policy.look_up_service("shop/one");
  policy.look_up_service("shop/one");
  policy.look_up_service("shop/three");
  policy.look_up_service("");
  EXPECT_EQ(lookups(), (Texts{"one.shop.svc:http", "one.shop:80"}));
  policy.look_up_all();
  objects.erase("c");
  policy.plan(objects);
  EXPECT_EQ(lookups(), (Texts{"one.shop.svc:http", "one.shop:80"})) << "two.shop:80 is not wanted any more";
  EXPECT_FALSE(policy.take_target("two.shop:80", {.port = 80, .is_resolved = true}, true));
}

TEST_F(ServiceMappingPolicyTest, writes_no_status_before_the_target_is_known) {
  put(object("web"));
  EXPECT_FALSE(status("web"));
  policy.take_target("web.shop:80", {.port = 80, .is_resolved = true}, false);
  EXPECT_FALSE(status("web")) << "looked up too early";
  policy.take_target("web.shop:80", {.port = 80, .is_resolved = true}, true);
  const auto write = status("web");
  ASSERT_TRUE(write);
  EXPECT_EQ(write->key + write->uid + write->version, "webu1");
  EXPECT_EQ(reason(*write, "Accepted"), "Accepted");
  EXPECT_EQ(reason(*write, "TargetResolved"), "Resolved");
  EXPECT_EQ(reason(*write, "AgentConnected"), "NoAgent");
}

TEST_F(ServiceMappingPolicyTest, writes_the_status_of_a_refused_object_at_once) {
  auto refused = object("web");
  refused.type = "UDP";
  put(refused);
  const auto write = status("web");
  ASSERT_TRUE(write);
  EXPECT_EQ(reason(*write, "Accepted"), "BadType");
}

TEST_F(ServiceMappingPolicyTest, writes_a_status_once_and_again_when_its_inputs_change) {
  auto made = object("web");
  made.locations = {"", "plant-1"};
  put(made);
  policy.take_target("web.shop:80", {.port = 80, .is_resolved = true}, true);
  const auto write = status("web");
  ASSERT_TRUE(write);
  EXPECT_TRUE(status("web")) << "the write may have failed";
  policy.note_written(*write, start);
  EXPECT_FALSE(status("web")) << "the informer has not seen it yet";
  made.status = write->status;
  made.version = "2";
  put(made);
  EXPECT_FALSE(status("web", 60s));
  EXPECT_FALSE(status("web", 60s));

  const auto connected = status("web", 60s, some_agent);
  ASSERT_TRUE(connected) << "one of its locations has an agent";
  EXPECT_EQ(reason(*connected, "Ready"), "Ready");
  EXPECT_EQ(connected->before, made.status);
  policy.take_target("web.shop:80", {.port = 80, .why_not = "no such name"}, true);
  const auto lost = status("web", 60s);
  ASSERT_TRUE(lost);
  EXPECT_EQ(reason(*lost, "TargetResolved"), "NotFound");
}

TEST_F(ServiceMappingPolicyTest, writes_anew_when_somebody_else_has_changed_the_status) {
  put(object("web"));
  policy.take_target("web.shop:80", {.port = 80, .is_resolved = true}, true);
  auto changed = object("web");
  changed.status = status("web")->status;
  put(changed);
  EXPECT_FALSE(status("web"));
  changed.status = {{"other", 1}};
  changed.version = "2";
  put(changed);
  const auto write = status("web");
  ASSERT_TRUE(write);
  EXPECT_TRUE(write->before.contains("other"));
}

TEST_F(ServiceMappingPolicyTest, leaves_what_is_going_or_not_planned_alone) {
  auto going = object("web");
  going.type = "UDP";
  going.is_going = true;
  put(going);
  EXPECT_FALSE(status("web"));
  objects.insert({"new", object("new")});
  EXPECT_FALSE(status("new"));
}

TEST_F(ServiceMappingPolicyTest, writes_no_status_by_the_plan_of_an_earlier_version) {
  put(object("web", "one.shop:80"));
  policy.take_target("one.shop:80", {.port = 80, .is_resolved = true}, true);
  objects.at("web").internal_address = "two.shop:80";
  EXPECT_FALSE(status("web"));
}

}  // namespace
}  // namespace culvert::server
