// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/endpoint_slice.hpp"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

namespace culvert::server {
namespace {

EndpointSlice read(std::string_view text) {
  return read_endpoint_slice(boost::json::parse(text).as_object());
}

/// As kube-controller-manager writes it.
TEST(EndpointSlice, has_what_stands_behind_a_service) {
  const EndpointSlice slice = read(R"({"metadata": {"name": "web-x", "namespace": "shop",
    "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
    "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"},
              {"name": "all", "port": null}],
    "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "a"}},
                  {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                  {"addresses": ["10.0.0.3"], "conditions": {}}]})");
  EXPECT_EQ(slice.service, "shop/web");
  EXPECT_EQ(slice.ports, (std::vector<NamedPort>{{"http", 8080}}));
  ASSERT_EQ(slice.endpoints.size(), 3u);
  EXPECT_EQ(slice.endpoints[0].target, "a");
  EXPECT_TRUE(slice.endpoints[0].is_ready);
  EXPECT_FALSE(slice.endpoints[1].is_ready);
  EXPECT_TRUE(slice.endpoints[2].is_ready) << "not said means ready";
}

TEST(EndpointSlice, knows_which_endpoints_may_be_used) {
  struct Row {
    std::string_view conditions;
    bool is_ready;
    bool is_leaving;
  };
  for (const Row& row : {
           Row{R"({})", true, false},
           Row{R"({"ready": null})", true, false},
           Row{R"({"ready": true, "serving": true, "terminating": false})", true, false},
           Row{R"({"ready": false})", false, false},
           Row{R"({"ready": false, "serving": false, "terminating": false})", false, false},
           Row{R"({"ready": false, "serving": true, "terminating": true})", false, true},
           Row{R"({"ready": false, "serving": false, "terminating": true})", false, false},
           Row{R"({"ready": false, "serving": null, "terminating": true})", false, false},
           Row{R"({"ready": false, "serving": true, "terminating": null})", false, false},
           // publishNotReadyAddresses
           Row{R"({"ready": true, "serving": true, "terminating": true})", true, false},
       }) {
    SCOPED_TRACE(row.conditions);
    const EndpointSlice slice =
        read(R"({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": )" + std::string(row.conditions) + "}]}");
    ASSERT_EQ(slice.endpoints.size(), 1u);
    EXPECT_EQ(slice.endpoints[0].is_ready, row.is_ready);
    EXPECT_EQ(slice.endpoints[0].is_leaving, row.is_leaving);
  }
}

TEST(ClusterService, has_its_ports_and_its_type) {
  const auto read = [](std::string_view text) { return read_service(boost::json::parse(text).as_object()); };
  EXPECT_EQ(read(R"({"spec": {"type": "ClusterIP", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})"),
            (ClusterService{{{"http", 80}}, false}));
  EXPECT_EQ(read(R"({"spec": {"type": "ExternalName", "externalName": "example.com"}})"), (ClusterService{{}, true}));
  EXPECT_EQ(read("{}"), ClusterService{});
}

TEST(EndpointSlice, is_empty_where_it_makes_no_sense) {
  EXPECT_EQ(read("{}"), EndpointSlice{});
  const EndpointSlice odd = read(R"({"metadata": {"labels": 7}, "ports": [1, {"port": 70000}, {"port": "80"}],
    "endpoints": [null, {"addresses": "10.0.0.1"}, {"addresses": ["example.com", 5, "10.0.0.256"]}]})");
  EXPECT_EQ(odd, EndpointSlice{});
}

}  // namespace
}  // namespace culvert::server
