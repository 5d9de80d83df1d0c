// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdio>
#include <cstring>  // explicit_bzero
#include <string_view>

#include "common/program/private_memory.hpp"
#include "common/program/program.hpp"
#include "common/tls/secret_hash.hpp"
#include "server/gateway/destinations_command.hpp"
#include "server/server.hpp"
#include "server/trial.hpp"

namespace {

/// Hashes standard input without its final newline, which a file or a person at a terminal adds. RFC 1929 allows 255
/// bytes.
int hash_secret() {
  std::array<char, 258> room{};
  const std::size_t size = std::fread(room.data(), 1, room.size(), stdin);
  std::string_view secret(room.data(), size);
  if (secret.ends_with('\n')) secret.remove_suffix(1);
  if (secret.ends_with('\r')) secret.remove_suffix(1);
  if (secret.empty() || secret.size() > 255) {
    std::fputs("culvert-server: a secret has 1 to 255 bytes\n", stderr);
    return static_cast<int>(culvert::ExitStatus::usage);
  }
  const auto hash = culvert::SecretHash::of(secret);
  ::explicit_bzero(room.data(), room.size());
  if (!hash) {
    std::fprintf(stderr, "culvert-server: %s\n", hash.error().text.c_str());
    return static_cast<int>(culvert::ExitStatus::try_again);
  }
  std::printf("%s\n", hash->text().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  culvert::keep_memory_private();
  culvert::Program program;
  program.name = "culvert-server";
  program.description =
      "The cloud end of Culvert's tunnels: accepts agents, and connects workloads to the systems that they expose.";
  program.default_config = "/etc/culvert/server.toml";
  program.trial = culvert::server::trial();
  program.load = culvert::server::ServerPlan::load;
  program.make = [](const culvert::ProgramContext& context,
                    std::unique_ptr<culvert::Plan> plan) -> std::unique_ptr<culvert::Service> {
    return std::make_unique<culvert::server::ServerService>(context, std::move(plan));
  };
  program.tools = {{"hash-secret",
                    "Read a secret from standard input, and print its hash for secret_hash",
                    {},
                    [](const auto&, const auto&) { return hash_secret(); }},
                   culvert::server::destinations_tool()};
  program.remotes = {{"agents", "Manage the agents that are enrolled at this server, without a cluster",
                      "add NAME --account A [--location L] [--agent N] [--lifetime 30d] [--json]\n"
                      "    prints the token with which the agent joins\n"
                      "token NAME [--json]       a new token, for an agent that joins again\n"
                      "list [--json]\n"
                      "show NAME [--json]\n"
                      "disable NAME              ends its tunnels, and refuses it\n"
                      "enable NAME\n"
                      "remove NAME\n"}};
  return culvert::run_program(program, argc, argv);
}
