// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_endpoints.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using Endpoints = std::vector<Endpoint>;
using boost::asio::ip::make_address;

const ClusterService web{{{"http", 80}, {"admin", 81}}, false};
const Endpoints nowhere;

EndpointSlice slice(std::vector<EndpointSlice::Endpoint> endpoints) {
  return {"shop/web", {{"http", 8080}}, std::move(endpoints)};
}
EndpointSlice::Endpoint ready(const char* address) {
  return {make_address(address), "", true, false};
}
EndpointSlice::Endpoint not_ready(const char* address) {
  return {make_address(address), "", false, false};
}
EndpointSlice::Endpoint leaving(const char* address) {
  return {make_address(address), "", false, true};
}

ServiceTarget find(const std::vector<EndpointSlice>& slices, std::uint16_t port = 80, std::string_view name = "",
                   const ClusterService& service = web) {
  std::vector<const EndpointSlice*> all;
  for (const EndpointSlice& each : slices) all.push_back(&each);
  return target_of_service("shop/web", &service, all, port, name);
}

TEST(ServiceTarget, is_the_ready_endpoints_at_their_own_port) {
  const auto both = slice({ready("192.0.2.1"), not_ready("192.0.2.2")});
  const ServiceTarget expected{80, Endpoints{{"192.0.2.1", 8080}, {"2001:db8::3", 8080}}, ""};
  const std::vector<EndpointSlice> slices{both, slice({ready("2001:db8::3"), ready("192.0.2.1")})};
  EXPECT_EQ(find(slices), expected);
  EXPECT_EQ(find(slices, 0, "http"), expected);
}

TEST(ServiceTarget, is_an_endpoint_that_terminates_only_if_none_is_ready) {
  const auto leaves = slice({leaving("192.0.2.1"), not_ready("192.0.2.2")});
  EXPECT_EQ(find({leaves}), (ServiceTarget{80, Endpoints{{"192.0.2.1", 8080}}, ""}));
  EXPECT_EQ(find({leaves, slice({ready("192.0.2.3")})}), (ServiceTarget{80, Endpoints{{"192.0.2.3", 8080}}, ""}));
  EXPECT_EQ(find({leaves, slice({ready("127.0.0.1")})}), (ServiceTarget{80, Endpoints{{"192.0.2.1", 8080}}, ""}))
      << "one that may not be dialled is none";
}

TEST(ServiceTarget, is_nowhere_without_an_endpoint_and_never_a_name) {
  EXPECT_EQ(find({}), (ServiceTarget{80, nowhere, "the Service has no ready endpoint"}));
  EXPECT_EQ(find({slice({not_ready("192.0.2.1")})}), (ServiceTarget{80, nowhere, "the Service has no ready endpoint"}));
  EXPECT_EQ(find({slice({ready("192.0.2.1")})}, 81), (ServiceTarget{81, nowhere, "the Service has no ready endpoint"}))
      << "the slice does not have this port";
  EXPECT_EQ(find({slice({ready("192.0.2.1")})}, 8080),
            (ServiceTarget{8080, nowhere, "the Service has no TCP port 8080"}))
      << "the endpoints' own port is not the Service's";
  EXPECT_EQ(find({}, 0, "web"), (ServiceTarget{0, nowhere, "the Service has no TCP port web"}));
  EXPECT_EQ(target_of_service("shop/none", nullptr, {}, 80, ""),
            (ServiceTarget{80, nowhere, "there is no Service shop/none"}));
}

TEST(ServiceTarget, is_a_name_for_an_external_name) {
  const ClusterService external{{{"http", 80}}, true};
  EXPECT_EQ(find({}, 80, "", external), (ServiceTarget{80, std::nullopt, ""}));
  EXPECT_EQ(find({}, 0, "http", external), (ServiceTarget{80, std::nullopt, ""}));
  EXPECT_EQ(find({}, 443, "", external), (ServiceTarget{443, std::nullopt, ""})) << "its ports are no list";
  EXPECT_EQ(find({}, 0, "web", external), (ServiceTarget{0, nowhere, "the Service has no TCP port web"}));
}

}  // namespace
}  // namespace culvert::server
