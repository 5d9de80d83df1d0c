// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/connected_agents.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

TEST(ConnectedAgents, are_one_line_each) {
  EXPECT_EQ(line_of({"acme//gate", "4a", "culvert-agent 0.4.0"}), "acme//gate 4a culvert-agent_0.4.0");
  EXPECT_EQ(line_of({"acme//gate", "", "x\ny\x7f"}), "acme//gate - x_y_") << "a peer cannot add a line";
  EXPECT_EQ(line_of({"acme//gate", "4a", std::string(1000, 'x')}).size(), std::string("acme//gate 4a ").size() + 64);
}

TEST(ConnectedAgents, are_read_from_the_replicas_texts) {
  AgentConnections all;
  add_lines(all, "replica-1", "acme//gate 4a culvert-agent_0.4.0\nacme//gate 4b culvert-agent_0.4.1\nacme/x/y 5 -\n");
  add_lines(all, "replica-2", "acme//gate 4a culvert-agent_0.4.0\n\n nonsense\nnonsense\ntwo words\n");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all.at("acme//gate"), (std::vector<AgentConnection>{{"replica-1", "4a", "culvert-agent_0.4.0"},
                                                                {"replica-2", "4a", "culvert-agent_0.4.0"}}))
      << "one for each replica";
  EXPECT_EQ(all.at("acme/x/y").front().software, "-");
}

}  // namespace
}  // namespace culvert::server
