// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/on_premise_policy.hpp"

#include <gtest/gtest.h>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using Kind = ServiceWork::Kind;
using Ports = std::map<std::string, int>;
const OnPremisePolicy::Time start{1000h};
const std::vector<Replica> one{{"a", {boost::asio::ip::make_address("10.0.0.1")}}};
const std::vector<Replica> two{one.front(), {"b", {boost::asio::ip::make_address("10.0.0.2")}}};

OnPremiseSettings settings() {
  OnPremiseSettings made;
  made.ports = {20100, 20102};
  made.accounts = {"acme"};
  return made;
}

OnPremiseObject object(std::string name, int port = 0) {
  OnPremiseObject made{.name_space = "shop",
                       .name = name,
                       .uid = "u",
                       .version = "1",
                       .created = name,
                       .generation = 3,
                       .account = "acme",
                       .virtual_host = "erp.corp",
                       .virtual_port = 443};
  if (port != 0) made.status["port"] = port;
  return made;
}

/// A policy with its objects, as the informer has them.
struct OnPremisePolicyTest : ::testing::Test {
  void put(const OnPremiseObject& made) {
    objects.insert_or_assign("shop/" + made.name, made);
    policy.plan(objects);
  }
  void remove(const std::string& name) {
    objects.erase("shop/" + name);
    policy.plan(objects);
  }
  std::optional<ServiceWork> work(const std::string& name, std::chrono::seconds after = 0s,
                                  const std::vector<Replica>& replicas = one) {
    return policy.next_work("shop/" + name, replicas, start + after);
  }
  void done(const std::string& name, const Result<void>& outcome = {}, std::chrono::seconds after = 0s) {
    policy.note_done("shop/" + name, outcome, start + after);
  }
  std::optional<StatusWrite> status(const std::string& name, std::chrono::seconds after = 0s) {
    return policy.next_status(
        "shop/" + name, [](const std::string&, const std::string&) { return true; }, start + after,
        "2026-01-01T00:00:01Z");
  }
  static int port(const StatusWrite& write) { return static_cast<int>(number_at(write.status, "port")); }
  static std::string reason(const StatusWrite& write, std::string_view type) {
    return text_at(condition_in(write.status, type), "reason");
  }
  /// The write has been taken, and the informer sees it.
  void take(const std::string& name, const StatusWrite& write) {
    auto made = objects.at("shop/" + name);
    made.status = write.status;
    made.version += "+";
    put(made);
  }
  /// Publishes the object in the course of the writer, and returns its port.
  int publish(const std::string& name) {
    if (work(name)) done(name);
    const auto write = status(name);
    if (!write) return 0;
    take(name, *write);
    return port(*write);
  }
  /// Name and port of each object for which every replica listens, if these are others than at the last call.
  std::optional<Ports> ports() {
    const auto next = policy.next_ports();
    if (!next) return std::nullopt;
    Ports ports;
    for (const OnPremisePort& each : *next) ports[each.name] = each.port;
    return ports;
  }

  const KubernetesSettings kubernetes;
  OnPremisePolicy::Objects objects;
  OnPremisePolicy policy{settings(), kubernetes};
};

TEST_F(OnPremisePolicyTest, listens_where_the_statuses_say) {
  policy.plan(objects);
  EXPECT_EQ(ports(), Ports{}) << "none is known, too";
  EXPECT_EQ(ports(), std::nullopt);
  put(object("erp", 20101));
  put(object("new"));
  auto refused = object("refused", 20102);
  refused.account = "other";
  put(refused);
  EXPECT_EQ(ports(), (Ports{{"shop/erp", 20101}}));
  EXPECT_TRUE(work("new"));
  EXPECT_EQ(ports(), std::nullopt) << "a port counts when the status has it";
  remove("erp");
  EXPECT_EQ(ports(), Ports{});
}

TEST_F(OnPremisePolicyTest, publishes_an_object_and_then_writes_its_status) {
  put(object("erp"));
  EXPECT_FALSE(status("erp")) << "nothing was done yet";
  const auto first = work("erp");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->kind, Kind::publish);
  EXPECT_EQ(first->planned.port.port, 20100);
  EXPECT_EQ(first->replicas, one);
  done("erp");
  EXPECT_FALSE(work("erp"));
  const auto write = status("erp");
  ASSERT_TRUE(write);
  EXPECT_EQ(port(*write), 20100);
  EXPECT_EQ(reason(*write, "Ready"), "Ready");
  policy.note_written(*write, start);
  EXPECT_FALSE(status("erp")) << "the informer has not seen it yet";
  policy.plan(objects);
  EXPECT_FALSE(work("erp")) << "the port stays the one that was given out";
  take("erp", *write);
  EXPECT_FALSE(work("erp"));
  EXPECT_FALSE(status("erp", 60s));
  EXPECT_EQ(ports(), (Ports{{"shop/erp", 20100}}));
}

TEST_F(OnPremisePolicyTest, looks_at_what_is_in_order_every_five_minutes) {
  put(object("erp"));
  EXPECT_EQ(publish("erp"), 20100);
  EXPECT_FALSE(work("erp", 299s));
  EXPECT_TRUE(work("erp", 300s));
}

TEST_F(OnPremisePolicyTest, does_its_work_anew_when_something_changes) {
  put(object("erp"));
  EXPECT_EQ(publish("erp"), 20100);
  EXPECT_EQ(work("erp", 1s, two)->replicas, two);
  done("erp");
  EXPECT_FALSE(work("erp", 1s, two));
  auto changed = objects.at("shop/erp");
  changed.virtual_host = "crm.corp";
  changed.generation = 4;
  put(changed);
  EXPECT_EQ(work("erp", 1s, two)->planned.port.virtual_host.host, "crm.corp");
}

TEST_F(OnPremisePolicyTest, tries_again_after_a_failure) {
  put(object("erp"));
  EXPECT_TRUE(work("erp"));
  done("erp", fail("kubernetes.refused", "403"));
  EXPECT_FALSE(work("erp", 9s));
  const auto write = status("erp");
  EXPECT_EQ(reason(*write, "Published"), "Failed");
  EXPECT_EQ(port(*write), 20100);
  EXPECT_TRUE(work("erp", 10s));
  done("erp", {}, 10s);
  EXPECT_EQ(reason(*status("erp"), "Published"), "Published");
}

TEST_F(OnPremisePolicyTest, tries_again_when_no_replica_is_ready) {
  put(object("erp"));
  EXPECT_TRUE(work("erp", 0s, {}));
  done("erp");
  EXPECT_EQ(reason(*status("erp"), "Published"), "NoReplica");
  EXPECT_FALSE(work("erp", 9s, {}));
  EXPECT_TRUE(work("erp", 9s, one));
}

TEST_F(OnPremisePolicyTest, does_its_work_anew_when_the_outcome_of_the_last_is_not_known) {
  put(object("erp"));
  EXPECT_TRUE(work("erp"));
  EXPECT_TRUE(work("erp")) << "the Lease was lost in between, say";
}

TEST_F(OnPremisePolicyTest, gives_each_object_a_port_of_its_own_until_none_is_left) {
  for (const char* name : {"a", "b", "c", "d"}) put(object(name));
  EXPECT_EQ(work("a")->planned.port.port, 20100);
  EXPECT_EQ(work("b")->planned.port.port, 20101);
  policy.plan(objects);  // Neither status is known yet.
  EXPECT_EQ(work("c")->planned.port.port, 20102);
  EXPECT_FALSE(work("d"));
  const auto write = status("d");
  ASSERT_TRUE(write);
  EXPECT_EQ(reason(*write, "Accepted"), "NoPortLeft");
  EXPECT_EQ(port(*write), 0);
  remove("b");
  EXPECT_EQ(work("d")->planned.port.port, 20101);
}

TEST_F(OnPremisePolicyTest, gives_out_a_port_that_came_back_last) {
  for (const char* name : {"a", "b"}) {
    put(object(name));
    EXPECT_NE(publish(name), 0);
  }
  remove("a");
  put(object("c"));
  EXPECT_EQ(publish("c"), 20102);
  put(object("d"));
  EXPECT_EQ(publish("d"), 20100);
}

TEST_F(OnPremisePolicyTest, gives_a_new_object_of_the_same_name_another_port) {
  put(object("erp"));
  EXPECT_EQ(publish("erp"), 20100);
  auto again = object("erp");
  again.uid = "another";
  put(again);  // Deletion and creation are one change.
  EXPECT_EQ(publish("erp"), 20101);
}

TEST_F(OnPremisePolicyTest, gives_the_younger_of_two_with_one_port_another) {
  put(object("old", 20100));
  put(object("young", 20100));
  EXPECT_EQ(work("young")->planned.port.port, 20101);
  EXPECT_EQ(work("old")->planned.port.port, 20100);
}

TEST_F(OnPremisePolicyTest, takes_another_port_when_the_given_one_was_given_out_elsewhere) {
  put(object("erp"));
  EXPECT_EQ(work("erp")->planned.port.port, 20100);
  put(object("other", 20100));  // By the replica that held the Lease before.
  EXPECT_EQ(work("erp")->planned.port.port, 20101);
}

TEST_F(OnPremisePolicyTest, withdraws_what_is_refused_from_now_on) {
  put(object("erp"));
  EXPECT_EQ(publish("erp"), 20100);
  auto changed = objects.at("shop/erp");
  changed.account = "other";
  put(changed);
  const auto next = work("erp");
  ASSERT_TRUE(next);
  EXPECT_EQ(next->kind, Kind::withdraw);
  done("erp");
  EXPECT_FALSE(work("erp"));
  const auto write = status("erp");
  ASSERT_TRUE(write);
  EXPECT_EQ(reason(*write, "Accepted"), "AccountNotAllowed");
  EXPECT_EQ(port(*write), 0);
  take("erp", *write);
  EXPECT_FALSE(work("erp", 10s)) << "it leads nowhere already";
  EXPECT_FALSE(status("erp", 10s));
}

TEST_F(OnPremisePolicyTest, keeps_the_port_of_a_refused_object_until_it_is_withdrawn) {
  put(object("erp"));
  EXPECT_EQ(publish("erp"), 20100);
  auto changed = objects.at("shop/erp");
  changed.account = "other";
  put(changed);
  EXPECT_TRUE(work("erp"));
  done("erp", fail("kubernetes.refused", "500"));
  EXPECT_FALSE(work("erp", 9s));
  const auto write = status("erp");
  EXPECT_EQ(reason(*write, "Accepted"), "AccountNotAllowed") << "that is reported at once";
  EXPECT_EQ(port(*write), 20100);
  take("erp", *write);
  EXPECT_EQ(ports(), Ports{}) << "nobody listens there";
  for (const char* name : {"a", "b", "c"}) put(object(name));
  EXPECT_EQ(work("a")->planned.port.port, 20101);
  EXPECT_EQ(work("b")->planned.port.port, 20102);
  EXPECT_FALSE(work("c")) << "20100 is not free: something may still lead there";
  EXPECT_EQ(work("erp", 10s)->kind, Kind::withdraw);
  done("erp", {}, 10s);
  EXPECT_EQ(port(*status("erp")), 0);
  take("erp", *status("erp"));
  EXPECT_EQ(work("c")->planned.port.port, 20100);
}

TEST_F(OnPremisePolicyTest, does_nothing_for_an_object_that_was_refused_from_the_beginning) {
  auto refused = object("erp");
  refused.account = "other";
  put(refused);
  EXPECT_FALSE(work("erp"));
  const auto write = status("erp");
  ASSERT_TRUE(write);
  EXPECT_EQ(reason(*write, "Accepted"), "AccountNotAllowed");
}

TEST_F(OnPremisePolicyTest, refuses_an_object_whose_name_is_taken) {
  put(object("erp"));
  EXPECT_TRUE(work("erp"));
  done("erp", fail("kubernetes.name_taken", "a Service erp is there already"));
  EXPECT_FALSE(work("erp")) << "it led nowhere";
  const auto write = status("erp");
  EXPECT_EQ(reason(*write, "Accepted"), "NameTaken");
  EXPECT_EQ(port(*write), 0);
  take("erp", *write);
  EXPECT_FALSE(work("erp", 9s));
  EXPECT_TRUE(work("erp", 10s));
  done("erp", {}, 10s);
  EXPECT_EQ(port(*status("erp")), 20100);
}

TEST_F(OnPremisePolicyTest, withdraws_an_object_whose_name_is_taken_later) {
  put(object("erp"));
  EXPECT_EQ(publish("erp"), 20100);
  EXPECT_EQ(work("erp", 300s)->kind, Kind::publish);
  done("erp", fail("kubernetes.name_taken", "a Service erp is there already"), 300s);
  EXPECT_EQ(work("erp", 300s)->kind, Kind::withdraw) << "their Service must not lead to our port";
  done("erp", {}, 300s);
  EXPECT_FALSE(work("erp", 300s));
  EXPECT_EQ(port(*status("erp", 300s)), 0);
}

TEST_F(OnPremisePolicyTest, leaves_what_is_going_or_gone_alone) {
  auto going = object("erp");
  going.is_going = true;
  put(going);
  EXPECT_FALSE(work("erp"));
  EXPECT_FALSE(status("erp"));
  put(object("other"));
  EXPECT_TRUE(work("other"));
  remove("other");
  done("other");
  EXPECT_FALSE(work("other"));
  EXPECT_FALSE(status("other"));
  EXPECT_EQ(policy.keys(), std::vector<std::string>{"shop/erp"});
}

}  // namespace
}  // namespace culvert::server
