// SPDX-License-Identifier: Apache-2.0
#include "common/program/program.hpp"
#include "server/server.hpp"

int main(int argc, char** argv) {
  culvert::Program program;
  program.name = "culvert-server";
  program.description = "The cloud end of Culvert's tunnels: accepts agents, and leads workloads to what they expose.";
  program.default_config = "/etc/culvert/server.toml";
  program.default_socket = "/run/culvert/server.sock";
  program.load = culvert::server::ServerPlan::load;
  program.make = [](const culvert::Surroundings& around,
                    std::unique_ptr<culvert::Plan> plan) -> std::unique_ptr<culvert::Service> {
    return std::make_unique<culvert::server::ServerService>(around, std::move(plan));
  };
  return culvert::run_program(program, argc, argv);
}
