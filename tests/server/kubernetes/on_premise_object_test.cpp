// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/on_premise_object.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

namespace culvert::server {
namespace {

namespace json = boost::json;

OnPremiseSettings settings() {
  OnPremiseSettings made;
  made.ports = {20100, 20102};
  made.accounts = {"acme"};
  return made;
}

OnPremiseObject object(std::string name, std::string created, int port = 0) {
  OnPremiseObject made{.name_space = "shop",
                       .name = std::move(name),
                       .uid = "u",
                       .created = std::move(created),
                       .generation = 3,
                       .account = "acme",
                       .virtual_host = "ERP.corp",
                       .virtual_port = 443};
  if (port != 0) made.status["port"] = port;
  return made;
}

std::map<std::string, PlannedService> plan(const std::vector<OnPremiseObject>& objects,
                                           const OnPremiseSettings& with = settings()) {
  std::map<std::string, OnPremiseObject> all;
  for (const OnPremiseObject& each : objects) all.emplace(each.name_space + "/" + each.name, each);
  return plan_on_premise(all, with, KubernetesSettings{});
}

TEST(OnPremiseObject, is_read_from_json) {
  const auto read = read_on_premise(json::parse(R"({"metadata": {"name": "erp", "namespace": "shop", "uid": "1",
    "generation": 2, "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"account": "acme", "location": "plant-1", "virtualHost": "erp", "virtualPort": 443, "protocol": "http",
    "port": 8080}, "status": {"port": 20100}})")
                                        .as_object());
  EXPECT_EQ(read.name_space + read.name + read.account + read.location + read.virtual_host, "shoperpacmeplant-1erp");
  EXPECT_EQ(read.virtual_port, 443);
  EXPECT_EQ(read.port, 8080);
  EXPECT_TRUE(read.is_http);
  EXPECT_FALSE(read.is_going);
}

TEST(OnPremiseObject, leads_to_its_virtual_host) {
  const auto planned = plan({object("erp", "1", 20101)}).at("shop/erp");
  ASSERT_TRUE(planned.is_accepted()) << planned.message;
  EXPECT_EQ(planned.port, (OnPremisePort{"shop/erp", 20101, false, {"acme", ""}, {"erp.corp", 443}, ""}));
  EXPECT_EQ(planned.service_port, 443) << "that of the virtual host";
}

TEST(OnPremiseObject, has_port_80_with_http_and_its_own_where_it_says_so) {
  auto http = object("erp", "1");
  http.is_http = true;
  EXPECT_EQ(plan({http}).at("shop/erp").service_port, 80);
  http.port = 8080;
  EXPECT_EQ(plan({http}).at("shop/erp").service_port, 8080);
}

TEST(OnPremiseObject, is_refused_with_a_reason) {
  const auto reason = [](auto change) {
    OnPremiseObject made = object("erp", "1", 20100);
    change(made);
    const auto planned = plan({made}).at("shop/erp");
    EXPECT_EQ(planned.port.port, 0) << "nobody listens for it";
    return planned.reason;
  };
  EXPECT_EQ(reason([](auto& made) { made.account = ""; }), "NoAccount");
  EXPECT_EQ(reason([](auto& made) { made.account = "other"; }), "AccountNotAllowed");
  EXPECT_EQ(reason([](auto& made) { made.account = "a/b"; }), "BadAccount");
  EXPECT_EQ(reason([](auto& made) { made.location = "a/b"; }), "BadLocation");
  EXPECT_EQ(reason([](auto& made) { made.virtual_host = "a b"; }), "BadVirtualHost");
  EXPECT_EQ(reason([](auto& made) { made.virtual_port = 0; }), "BadPort");
  EXPECT_EQ(reason([](auto& made) { made.virtual_port = 65536; }), "BadPort");
  OnPremiseSettings all = settings();
  all.accounts = {"*"};
  auto other = object("erp", "1");
  other.account = "other";
  EXPECT_TRUE(plan({other}, all).at("shop/erp").is_accepted());
}

TEST(OnPremiseObject, keeps_its_port_unless_an_older_one_has_it_or_it_is_not_ours) {
  const auto planned = plan({object("young", "2", 20100), object("old", "1", 20100), object("far", "3", 8042)});
  EXPECT_EQ(planned.at("shop/old").port.port, 20100);
  EXPECT_EQ(planned.at("shop/young").port.port, 0);
  EXPECT_EQ(planned.at("shop/far").port.port, 0);
}

TEST(OnPremiseObject, becomes_a_service_without_a_selector_that_it_owns) {
  const auto made = object("erp", "1", 20101);
  const auto planned = plan({made}).at("shop/erp");
  const json::object service = service_of(made, planned);
  EXPECT_EQ(json::serialize(service.at("spec")),
            R"({"ports":[{"name":"tcp","protocol":"TCP","port":443,"targetPort":20101}]})");
  EXPECT_TRUE(is_owned(service, made));
  auto other = made;
  other.uid = "another one of this name";
  EXPECT_FALSE(is_owned(service, other));
  EXPECT_FALSE(is_owned(json::object(), made));
}

TEST(OnPremiseObject, has_the_ready_replicas_behind_it) {
  const auto address = [](const char* text) { return boost::asio::ip::make_address(text); };
  const auto made = object("erp", "1", 20101);
  const auto planned = plan({made}).at("shop/erp");
  const json::object slice =
      slice_of(made, planned, {{"a", {address("10.0.0.1"), address("fd00::1")}}, {"b", {address("10.0.0.2")}}}, "v1");
  EXPECT_EQ(json::serialize(slice.at("endpoints")), R"([{"addresses":["10.0.0.1"],"conditions":{"ready":true}},)"
                                                    R"({"addresses":["10.0.0.2"],"conditions":{"ready":true}}])");
  EXPECT_EQ(slice.at("addressType"), "IPv4");
  EXPECT_EQ(slice.at("metadata").at("labels").at("kubernetes.io/service-name"), "erp");
  EXPECT_EQ(slice_of(made, planned, {{"a", {address("fd00::1")}}}, "v1").at("addressType"), "IPv6");
}

TEST(OnPremiseObject, is_as_it_should_be_whatever_was_added) {
  const auto holds = [](std::string_view actual, std::string_view wanted) {
    return has_all(json::parse(actual), json::parse(wanted));
  };
  EXPECT_TRUE(holds(R"({"a": 1, "b": {"c": [{"d": "x", "e": 2}]}})", R"({"b": {"c": [{"d": "x"}]}})"));
  EXPECT_FALSE(holds(R"({"a": [1, 2]})", R"({"a": [1]})")) << "one more is another list";
  EXPECT_FALSE(holds(R"({"a": 1})", R"({"b": 1})"));
  EXPECT_FALSE(holds(R"({"a": 1})", R"({"a": 2})"));
  EXPECT_FALSE(holds(R"({"a": "1"})", R"({"a": 1})"));
  EXPECT_TRUE(has_all(json::value(std::int64_t{80}), json::value(std::uint64_t{80})));
}

TEST(OnPremiseObject, is_made_or_corrected_by_one_write) {
  const auto made = object("erp", "1", 20101);
  const json::object wanted = service_of(made, plan({made}).at("shop/erp"));
  const auto create = write_of(nullptr, wanted, made);
  ASSERT_TRUE(create);
  EXPECT_EQ(create->kind, ObjectWrite::Kind::create);
  EXPECT_EQ(create->body, wanted);

  json::object actual = wanted;
  actual["metadata"].as_object()["resourceVersion"] = "7";
  actual["spec"].as_object()["clusterIP"] = "10.0.0.1";
  EXPECT_EQ(write_of(&actual, wanted, made)->kind, ObjectWrite::Kind::none);

  actual["spec"].as_object()["ports"].as_array()[0].as_object()["port"] = 1;
  const auto patch = write_of(&actual, wanted, made);
  ASSERT_TRUE(patch);
  EXPECT_EQ(patch->kind, ObjectWrite::Kind::patch);
  EXPECT_EQ(patch->body,
            (json::object{{"spec", wanted.at("spec")}, {"metadata", json::object{{"resourceVersion", "7"}}}}))
      << "only if nobody else has changed it, and nothing that cannot be changed";

  auto other = made;
  other.uid = "another one of this name";
  const auto taken = write_of(&actual, wanted, other);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, "kubernetes.name_taken");
  EXPECT_NE(taken.error().text.find("Service erp"), std::string::npos);
}

TEST(OnPremiseObject, leads_nowhere_once_it_is_withdrawn) {
  const auto made = object("erp", "1", 20101);
  const auto address = boost::asio::ip::make_address("10.0.0.1");
  json::object slice = slice_of(made, plan({made}).at("shop/erp"), {{"a", {address}}}, "v1");
  const ObjectWrite write = withdrawal_of(&slice, made);
  EXPECT_EQ(write.kind, ObjectWrite::Kind::patch);
  EXPECT_EQ(write.body, (json::object{{"endpoints", json::array()}}));
  auto other = made;
  other.uid = "another one of this name";
  EXPECT_EQ(withdrawal_of(&slice, other).kind, ObjectWrite::Kind::none) << "it is not ours";
  EXPECT_EQ(withdrawal_of(nullptr, made).kind, ObjectWrite::Kind::none);
  slice["endpoints"] = json::array();
  EXPECT_EQ(withdrawal_of(&slice, made).kind, ObjectWrite::Kind::none);
}

TEST(OnPremiseObject, tells_in_its_status_what_became_of_it) {
  const auto made = object("erp", "1", 20101);
  const auto planned = plan({made}).at("shop/erp");
  const json::object good = status_of(made, planned, {.is_published = true, .has_agent = true}, "now");
  EXPECT_EQ(good.at("port").to_number<int>(), 20101);
  EXPECT_EQ(good.at("conditions").as_array().back().at("status"), "True");
  const json::object waits = status_of(
      made, planned, {.is_published = false, .reason = "NoReplica", .why_not = "x", .has_agent = true}, "now");
  EXPECT_EQ(waits.at("conditions").as_array().back().at("reason"), "NoReplica");
  auto refused = made;
  refused.account = "other";
  const json::object no = status_of(refused, plan({refused}).at("shop/erp"), {}, "now");
  EXPECT_FALSE(no.contains("port"));
  EXPECT_EQ(no.at("conditions").as_array().back().at("reason"), "AccountNotAllowed");
}

}  // namespace
}  // namespace culvert::server
