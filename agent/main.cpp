// SPDX-License-Identifier: Apache-2.0
#include "common/admin/program.hpp"
#include "agent/agent.hpp"

int main(int argc, char** argv) {
  using namespace culvert;
  Program program;
  program.name = "culvert-agent";
  program.description = "The on-premise end of Culvert's tunnels: dials out, exposes what its file names, and opens local channels.";
  program.default_config = "/etc/culvert/agent.toml";
  program.default_socket = "/run/culvert/agent.sock";
  program.load = agent::AgentPlan::load;
  program.make = [](const Surroundings& around, std::unique_ptr<Plan> plan) -> std::unique_ptr<Service> {
    return std::make_unique<agent::AgentService>(around, std::move(plan));
  };
  return run_program(program, argc, argv);
}
