// SPDX-License-Identifier: Apache-2.0
#include "server/agents/agent_acceptor.hpp"

#include <memory>

#include <gtest/gtest.h>

#include "common/tunnel/data_planes.hpp"
#include "tests/testing/certificates.hpp"

namespace culvert::server {
namespace {

std::shared_ptr<const TunnelPolicy> policy() {
  const testing::CertificateDirectory files;
  const auto authority = testing::make_authority();
  auto tls =
      TlsContext::for_server(files.write("server", testing::issue(authority, testing::server_request()), authority));
  return std::make_shared<const TunnelPolicy>(
      TunnelPolicy{std::move(*tls), "test.example", Denials(), {.streams_max = 10, .dials_max = 10}, "bbr", 64, {}});
}

/// How many tasks the workers have been given since the last call. They are not started, so that this thread counts.
std::size_t tasks(DataPlanes& planes) {
  std::size_t count = 0;
  for (Worker* worker : planes.workers()) {
    worker->context().restart();
    count += worker->context().poll();
  }
  return count;
}

TEST(AgentAcceptor, does_not_look_at_tunnels_when_the_service_mappings_change) {
  Log log({});
  DataPlanes planes(2, 1 << 20);
  TunnelDirectory directory(planes);
  AgentAcceptor agents(planes, directory, log, policy(), std::make_shared<const ServiceMappings>());
  (void)tasks(planes);
  agents.change(policy());
  EXPECT_EQ(tasks(planes), 2u) << "on each worker the tunnels are compared with the deny list";
  agents.change_mappings(std::make_shared<const ServiceMappings>());
  EXPECT_EQ(tasks(planes), 0u);
}

}  // namespace
}  // namespace culvert::server
