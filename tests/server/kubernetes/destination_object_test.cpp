// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/destination_object.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {
namespace {

namespace json = boost::json;

GatewaySettings gateway() {
  GatewaySettings made;
  made.account = "acme";
  made.destination_ports = EndpointRange{"0.0.0.0", {20500, 20502}};
  return made;
}

DestinationObject object(std::string destination, int port = 0) {
  DestinationObject made{.name_space = "shop",
                         .name = "erp",
                         .uid = "u",
                         .created = "1",
                         .generation = 3,
                         .destination = std::move(destination)};
  if (port != 0) made.status["port"] = port;
  return made;
}

ClusterSecret secret(const std::map<std::string, std::string>& values) {
  ClusterSecret made{.state = ClusterSecret::State::there};
  for (const auto& [key, value] : values)
    made.values.emplace(key, Secret(std::vector<char>(value.begin(), value.end())));
  return made;
}

const std::string internet = R"({"Name": "web", "Type": "HTTP", "URL": "http://a.example", "ProxyType": "Internet",
                                 "Authentication": "NoAuthentication"})";
const std::string on_premise = R"({"Name": "plant", "Type": "HTTP", "URL": "http://erp.corp:80",
    "ProxyType": "OnPremise", "Authentication": "NoAuthentication", "CloudConnectorLocationId": "west"})";
const std::string tcp = "Name=db\nType=TCP\nAddress=db.corp\\:5432\nProxyType=OnPremise\n";
const std::string outside_tcp = "Name=far\nType=TCP\nAddress=db.corp\\:5432\nProxyType=Internet\n";

DestinationDefinitions definitions() {
  return read_definitions(secret(
      {{"web.json", internet}, {"b", on_premise}, {"c", tcp}, {"d", outside_tcp}, {"bad.json", "{"}, {"k.pem", "x"}}));
}

PlannedService plan(const DestinationObject& made, const GatewaySettings& with = gateway(),
                    const DestinationDefinitions& known = definitions()) {
  return plan_destinations({{"shop/erp", made}}, known, with).at("shop/erp");
}

TEST(DestinationObject, is_read_from_json) {
  const auto read = [](std::string_view spec) {
    return read_destination_object(json::parse(R"({"metadata": {"name": "erp", "namespace": "shop", "uid": "1",
        "generation": 2, "resourceVersion": "7"}, "status": {"port": 20500}, "spec": )" +
                                               std::string(spec) + "}")
                                       .as_object());
  };
  const auto made = read(R"({"destinationRef": {"name": "web"}, "service": {"port": 8080}})");
  EXPECT_EQ(made.name_space + made.name + made.uid + made.version + made.destination, "shoperp17web");
  EXPECT_EQ(made.port, 8080);
  EXPECT_EQ(made.unsupported, "");
  EXPECT_EQ(read(R"({"fragmentRef": {"name": "x"}})").unsupported, "fragmentRef");
  EXPECT_EQ(read(R"({"chainRef": {"name": "x"}})").unsupported, "chainRef");
  EXPECT_EQ(read(R"({"destinationServiceInstanceName": "x"})").unsupported, "destinationServiceInstanceName");
  EXPECT_EQ(read(R"({"destinationServiceInstanceName": ""})").unsupported, "");
}

TEST(DestinationObject, owns_its_service) {
  const json::object service = service_of(object("web"), plan(object("web", 20501)));
  const json::value& owner = service.at("metadata").at("ownerReferences").at(0);
  EXPECT_EQ(owner.at("apiVersion"), "destination.connectivity.api.sap/v1");
  EXPECT_EQ(owner.at("kind"), "Destination");
}

TEST(DestinationObject, leads_to_its_destination) {
  const auto web = plan(object("web", 20501));
  ASSERT_TRUE(web.is_accepted()) << web.message;
  EXPECT_EQ(web.port, (OnPremisePort{"shop/erp", 20501, true, {}, {}, "web"}));
  EXPECT_EQ(web.service_port, 80);
  const auto any = plan(object("*", 20501));
  EXPECT_EQ(any.port, (OnPremisePort{"shop/erp", 20501, true, {}, {}, "*"}));
  const auto plant = plan(object("plant"));
  EXPECT_EQ(plant.port, (OnPremisePort{"shop/erp", 0, true, {"acme", "west"}, {}, "plant"}));
  auto other = object("web");
  other.port = 8080;
  EXPECT_EQ(plan(other).service_port, 8080);
}

TEST(DestinationObject, of_another_type_is_a_plain_port_to_an_agent) {
  const auto db = plan(object("db", 20502));
  ASSERT_TRUE(db.is_accepted()) << db.message;
  EXPECT_EQ(db.port, (OnPremisePort{"shop/erp", 20502, false, {"acme", ""}, {"db.corp", 5432}, ""}));
  EXPECT_EQ(db.service_port, 5432);
  EXPECT_EQ(plan(object("far")).reason, "NotSupported");
  GatewaySettings with_tokens = gateway();
  with_tokens.callers.issuers.emplace_back();
  EXPECT_EQ(plan(object("db"), with_tokens).reason, "NotSupported") << "a plain port cannot check tokens";
  EXPECT_TRUE(plan(object("web"), with_tokens).is_accepted());
}

TEST(DestinationObject, is_refused_with_a_reason) {
  auto chained = object("web");
  chained.unsupported = "chainRef";
  EXPECT_EQ(plan(chained).reason, "NotSupported");
  EXPECT_NE(plan(chained).message.find("chainRef"), std::string::npos);
  EXPECT_EQ(plan(object("")).reason, "BadReference");
  EXPECT_EQ(plan(object("none", 20500)).reason, "NoDefinition");
  EXPECT_EQ(plan(object("none", 20500)).port.port, 0) << "nobody listens for it";
  EXPECT_EQ(plan(object("bad")).reason, "BadDefinition");
  EXPECT_EQ(plan(object("k.pem")).reason, "NoDefinition") << "it is a certificate";
  GatewaySettings without = gateway();
  without.account = "";
  EXPECT_EQ(plan(object("plant"), without).reason, "NoAccount");
  auto far = object("web");
  far.port = 65536;
  EXPECT_EQ(plan(far).reason, "BadPort");
}

TEST(DestinationObject, waits_for_the_secret_unless_each_request_names_its_destination) {
  for (const auto state : {ClusterSecret::State::missing, ClusterSecret::State::refused}) {
    const auto none = read_definitions({.state = state, .refusal = "forbidden"});
    EXPECT_EQ(plan(object("web"), gateway(), none).reason, "NoDefinitions");
    EXPECT_NE(plan(object("web"), gateway(), none).message.find("culvert-destinations"), std::string::npos);
    EXPECT_TRUE(plan(object("*"), gateway(), none).is_accepted());
  }
}

TEST(DestinationObject, tells_in_its_status_what_became_of_it) {
  const auto condition = [](const json::object& status) { return condition_in(status, "Available"); };
  auto made = object("plant", 20501);
  const auto planned = plan(made);
  const json::object good = status_of(made, planned, {.is_published = true, .has_agent = true}, "then");
  EXPECT_EQ(good.at("port").to_number<int>(), 20501);
  EXPECT_EQ(json::serialize(good.at("conditions")), R"([{"type":"Available","status":"True","reason":"Available",)"
                                                    R"("message":"","lastUpdateTime":"then"}])");
  made.status = good;
  EXPECT_EQ(status_of(made, planned, {.is_published = true, .has_agent = true}, "now"), good) << "nothing to write";
  const auto lonely = condition(status_of(made, planned, {.is_published = true, .has_agent = false}, "now"));
  EXPECT_EQ(text_at(lonely, "reason") + text_at(lonely, "lastUpdateTime"), "NoAgentnow");
  const auto waits =
      condition(status_of(made, planned, {.reason = "NoReplica", .why_not = "x", .has_agent = true}, "now"));
  EXPECT_EQ(text_at(waits, "status") + text_at(waits, "reason"), "FalseNoReplica");
  const auto refused = status_of(made, plan(object("none")), {}, "now");
  EXPECT_EQ(text_at(condition(refused), "reason"), "NoDefinition");
  EXPECT_FALSE(refused.contains("port"));
}

TEST(DestinationObject, has_an_event_for_a_new_problem_that_does_not_pass_by_itself) {
  const auto write = [](std::string_view before, std::string_view after) {
    const auto status = [](std::string_view reason) {
      return json::object{{"conditions",
                           {{{"type", "Available"},
                             {"status", reason == "Available" ? "True" : "False"},
                             {"reason", reason},
                             {"message", "why"}}}}};
    };
    return StatusWrite{"shop/erp", "u", "1", status(before), status(after)};
  };
  EXPECT_EQ(new_problem(write("Available", "NoDefinition")), (RefusalReason{"NoDefinition", "why"}));
  EXPECT_FALSE(new_problem(write("NoDefinition", "NoDefinition")));
  EXPECT_FALSE(new_problem(write("NoDefinition", "Available")));
  EXPECT_FALSE(new_problem(write("Available", "NoAgent")));
}

}  // namespace
}  // namespace culvert::server
