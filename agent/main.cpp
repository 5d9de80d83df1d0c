// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.hpp"
#include "agent/trial.hpp"
#include "common/program/program.hpp"

int main(int argc, char** argv) {
  culvert::Program program;
  program.name = "culvert-agent";
  program.description =
      "The on-premise end of Culvert's tunnels: dials out, exposes what its file names, and opens local channels.";
  program.default_config = "/etc/culvert/agent.toml";
  program.trial = culvert::agent::trial();
  program.load = culvert::agent::AgentPlan::load;
  program.make = [](const culvert::Surroundings& around,
                    std::unique_ptr<culvert::Plan> plan) -> std::unique_ptr<culvert::Service> {
    return std::make_unique<culvert::agent::AgentService>(around, std::move(plan));
  };
  return culvert::run_program(program, argc, argv);
}
