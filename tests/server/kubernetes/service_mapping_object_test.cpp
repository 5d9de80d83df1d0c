// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_mapping_object.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

namespace culvert::server {
namespace {

namespace json = boost::json;

KubernetesSettings settings() {
  KubernetesSettings made;
  made.external_address = {"tunnel.example.com", 443};
  return made;
}

ServiceMappingObject object(std::string name, std::string created, std::string service = "web") {
  return {.name = std::move(name),
          .uid = "u",
          .created = std::move(created),
          .generation = 3,
          .account = "acme",
          .type = "TCP",
          .service_id = std::move(service),
          .internal_address = "web.shop:80"};
}

std::vector<PlannedMapping> plan(std::vector<ServiceMappingObject> objects,
                                 const KubernetesSettings& with = settings()) {
  std::map<std::string, ServiceMappingObject> all;
  for (ServiceMappingObject& each : objects) all.emplace(each.name, each);
  return plan_service_mappings(all, with);
}

TEST(InternalAddress, is_a_service_in_each_of_its_spellings) {
  for (const char* text :
       {"web.shop:80", "web.shop.svc:80", "web.shop.svc.cluster.local:80", "web.shop.svc.cluster.local.:80"}) {
    const auto address = parse_internal_address(text, settings());
    ASSERT_TRUE(address) << text << ": " << address.error();
    EXPECT_EQ(*address, (InternalAddress{"web.shop.svc.cluster.local", "shop/web", 80, ""}));
  }
  const auto named = parse_internal_address("web.shop:http", settings());
  ASSERT_TRUE(named);
  EXPECT_EQ(named->port, 0);
  EXPECT_EQ(named->port_name, "http");
}

TEST(InternalAddress, is_nothing_else) {
  for (const char* text : {"",
                           "web",
                           "web:80",
                           "web.shop",
                           "web.shop:",
                           "web.shop:0",
                           "web.shop:65536",
                           "web.shop:99999999999",
                           "web.shop:-1",
                           "web.shop:8 0",
                           ".shop:80",
                           "web.:80",
                           "web.shop.other:80",
                           "web.shop.svc.example.com:80",
                           "Web.shop:80",
                           "web/../x.shop:80",
                           "web.shop/x:80",
                           "-web.shop:80",
                           "10.0.0.1:80",
                           "[::1]:80",
                           "web.shop:Http"})
    EXPECT_FALSE(parse_internal_address(text, settings())) << text;
}

TEST(InternalAddress, is_an_address_only_where_that_is_allowed) {
  KubernetesSettings with = settings();
  with.allow_address_targets = true;
  EXPECT_EQ(parse_internal_address("10.0.0.1:80", with)->host, "10.0.0.1");
  EXPECT_EQ(parse_internal_address("[fd00::1]:80", with)->host, "fd00::1");
  EXPECT_FALSE(parse_internal_address("10.0.0.1:http", with));
}

TEST(ServiceMappingPlan, keeps_the_older_of_two_that_claim_one_service) {
  const auto planned = plan({object("a", "2026-01-02T00:00:00Z"), object("b", "2026-01-01T00:00:00Z"),
                             object("c", "2026-01-03T00:00:00Z", "other")});
  ASSERT_EQ(planned.size(), 3u);
  EXPECT_EQ(planned[0].key, "b");
  EXPECT_TRUE(planned[0].is_accepted());
  EXPECT_EQ(planned[1].key, "a");
  EXPECT_EQ(planned[1].reason, "Duplicate");
  EXPECT_NE(planned[1].message.find("ServiceMapping b"), std::string::npos);
  EXPECT_TRUE(planned[2].is_accepted());
}

TEST(ServiceMappingPlan, refuses_one_of_several_locations_as_a_whole) {
  auto older = object("a", "2026-01-01T00:00:00Z");
  older.locations = {"plant-1"};
  auto newer = object("b", "2026-01-02T00:00:00Z");
  newer.locations = {"", "plant-1"};
  const auto planned = plan({older, newer});
  EXPECT_EQ(planned[1].reason, "Duplicate");
  newer.locations = {""};
  EXPECT_TRUE(plan({older, newer})[1].is_accepted());
}

TEST(ServiceMappingPlan, says_what_is_wrong_and_harms_no_other) {
  auto bad = object("bad", "2026-01-01T00:00:00Z");
  const auto reason = [&] { return plan({bad, object("good", "2026-01-02T00:00:00Z", "good")})[0].reason; };
  bad.internal_address = "nowhere";
  EXPECT_EQ(reason(), "BadInternalAddress");
  EXPECT_TRUE(plan({bad, object("good", "2026-01-02T00:00:00Z", "good")})[1].is_accepted());
  bad = object("bad", "2026-01-01T00:00:00Z");
  bad.account = "a/b";
  EXPECT_EQ(reason(), "BadAccount");
  bad.account = "";
  EXPECT_EQ(reason(), "NoAccount");
  bad = object("bad", "2026-01-01T00:00:00Z", "a b");
  EXPECT_EQ(reason(), "BadServiceId");
  bad = object("bad", "2026-01-01T00:00:00Z");
  bad.locations = {"x y"};
  EXPECT_EQ(reason(), "BadLocation");
  bad = object("bad", "2026-01-01T00:00:00Z");
  bad.type = "UDP";
  EXPECT_EQ(reason(), "BadType");
}

TEST(ServiceMappingPlan, takes_the_servers_own_account_where_none_is_named) {
  KubernetesSettings with = settings();
  with.account = "own";
  auto nameless = object("a", "2026-01-01T00:00:00Z");
  nameless.account = "";
  EXPECT_EQ(plan({nameless}, with)[0].mapping.account, "own");
}

TEST(ServiceMappingStatus, tells_the_endpoint_and_keeps_the_time_of_what_stays) {
  ServiceMappingObject mapping = object("a", "2026-01-01T00:00:00Z");
  const auto planned = plan({mapping})[0];
  mapping.status = status_of(mapping, planned, {false, "no such name", false}, settings(), "2026-01-01T00:00:01Z");
  EXPECT_EQ(mapping.status.at("endpoint").as_string(), "tcp://tunnel.example.com:443/web");
  const auto later = status_of(mapping, planned, {true, "", false}, settings(), "2026-01-01T00:00:09Z");
  EXPECT_EQ(later.at("conditions").at(0).at("lastTransitionTime").as_string(), "2026-01-01T00:00:01Z");
  EXPECT_EQ(later.at("conditions").at(1).at("lastTransitionTime").as_string(), "2026-01-01T00:00:09Z");
  EXPECT_EQ(later.at("conditions").at(1).at("status").as_string(), "True");
  mapping.status = later;
  EXPECT_EQ(status_of(mapping, planned, {true, "", false}, settings(), "2026-01-01T00:01:00Z"), later)
      << "nothing has changed, so nothing is to be written";
}

TEST(ServiceMappingStatus, of_a_refused_one_has_no_endpoint) {
  ServiceMappingObject mapping = object("a", "2026-01-01T00:00:00Z");
  mapping.type = "UDP";
  const auto status = status_of(mapping, plan({mapping})[0], {}, settings(), "2026-01-01T00:00:01Z");
  EXPECT_FALSE(status.contains("endpoint"));
  EXPECT_EQ(status.at("conditions").at(0).at("reason").as_string(), "BadType");
  EXPECT_EQ(status.at("conditions").at(3).at("type").as_string(), "Ready");
  EXPECT_EQ(status.at("conditions").at(3).at("reason").as_string(), "BadType");
  EXPECT_EQ(status.at("observedGeneration").as_int64(), 3);
}

TEST(ServiceMappingObject, is_read_from_the_seed_manifest) {
  const auto read = read_service_mapping(json::parse(R"({
    "apiVersion": "connectivityproxy.sap.com/v1", "kind": "ServiceMapping",
    "metadata": {"name": "sm", "uid": "1", "resourceVersion": "7", "generation": 2,
                 "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"type": "TCP", "subaccountId": "7a1c", "serviceId": "myservice", "internalAddress": "echoserver.test:80",
             "locationIds": ["plant-1", ""]}})")
                                             .as_object());
  EXPECT_EQ(read.name, "sm");
  EXPECT_EQ(read.account, "7a1c");
  EXPECT_EQ(read.locations, (std::vector<std::string>{"plant-1", ""}));
  EXPECT_EQ(read.version, "7");
  EXPECT_FALSE(read.is_going);
  EXPECT_EQ(read_service_mapping({}).locations, std::vector<std::string>{""}) << "something else is empty, no crash";
}

}  // namespace
}  // namespace culvert::server
