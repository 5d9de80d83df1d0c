// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/destinations_command.hpp"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

namespace culvert::server {
namespace {

std::string destination(std::string_view name, std::string_view authentication) {
  return R"({"Name":")" + std::string(name) + R"(","Type":"HTTP","URL":"https://a","ProxyType":"Internet",)" +
         R"("Authentication":")" + std::string(authentication) + R"("})";
}

TEST(DestinationImport, takes_what_is_usable_and_reports_each) {
  const std::string properties =
      "Name=c\nType=HTTP\nURL=http\\://c\nProxyType=PrivateLink\nAuthentication=NoAuthentication\n";
  const std::vector<ExportFile> files{
      {"one.json", "[" + destination("a", "NoAuthentication") + "," + destination("b", "AppToAppSSO") + "]"},
      {"c", properties},
      {"two.json", "{\"x\":" + destination("a", "NoAuthentication") + "}"},
      {"bad.json", "{"},
      {"odd.json", destination("a\\u001b[31m", "NoAuthentication")},
      {"none", fail("gateway.bad_destination", "cannot read it: no")}};
  const DestinationImport import = import_destinations(files);
  EXPECT_FALSE(import.all_usable);
  ASSERT_EQ(import.usable.size(), 2u);
  EXPECT_EQ(import.usable[0].name, "a");
  EXPECT_EQ(import.usable[0].text, destination("a", "NoAuthentication"));
  EXPECT_EQ(import.usable[1].name, "c");
  EXPECT_EQ(import.usable[1].text, properties) << "as it was";
  ASSERT_EQ(import.report.size(), 8u);
  EXPECT_EQ(import.report[0], "one.json: a: supported");
  EXPECT_TRUE(import.report[1].starts_with("one.json: b: not usable: Authentication: AppToAppSSO is not supported"));
  EXPECT_EQ(import.report[2], "c: c: supported");
  EXPECT_TRUE(import.report[3].starts_with("c: c: note: ProxyType PrivateLink"));
  EXPECT_TRUE(import.report[4].starts_with("two.json: a: not usable: another one has this name"));
  EXPECT_TRUE(import.report[5].starts_with("bad.json: not usable: not valid JSON"));
  EXPECT_TRUE(import.report[6].starts_with("odd.json: destination 1: not usable: Name: write"));
  EXPECT_EQ(import.report[7], "none: not usable: cannot read it: no");
}

TEST(DestinationImport, is_complete_when_all_are_usable) {
  const ExportFile file{"f", destination("a", "NoAuthentication")};
  EXPECT_TRUE(import_destinations({&file, 1}).all_usable);
  const ExportFile unsupported{"f", destination("a", "AppToAppSSO")};
  EXPECT_FALSE(import_destinations({&unsupported, 1}).all_usable);
}

TEST(DestinationImport, makes_a_secret_with_a_key_for_each) {
  const std::vector<ExportedDestination> destinations{{"a", "Name=a\nx=\"\\"}, {"b", "{}"}};
  EXPECT_EQ(boost::json::parse(destinations_secret(destinations)), boost::json::parse(R"({
    "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "culvert-destinations"},
    "stringData": {"a": "Name=a\nx=\"\\", "b": "{}"}})"));
}

}  // namespace
}  // namespace culvert::server
