// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.hpp"
#include "agent/identity/join_command.hpp"
#include "agent/trial.hpp"
#include "common/program/private_memory.hpp"
#include "common/program/program.hpp"

int main(int argc, char** argv) {
  culvert::keep_memory_private();
  culvert::Program program;
  program.name = "culvert-agent";
  program.description =
      "The on-premise end of Culvert's tunnels: dials out, exposes the systems in its file, and opens local channels.";
  program.default_config = "/etc/culvert/agent.toml";
  program.trial = culvert::agent::trial();
  program.load = culvert::agent::AgentPlan::load;
  program.make = [](const culvert::ProgramContext& context,
                    std::unique_ptr<culvert::Plan> plan) -> std::unique_ptr<culvert::Service> {
    return std::make_unique<culvert::agent::AgentService>(context, std::move(plan));
  };
  program.tools = {culvert::agent::join_tool()};
  return culvert::run_program(program, argc, argv);
}
