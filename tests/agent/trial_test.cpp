// SPDX-License-Identifier: Apache-2.0
#include "agent/trial.hpp"

#include <gtest/gtest.h>

#include "agent/config/config.hpp"
#include "tests/testing/config_files.hpp"

namespace culvert::agent {
namespace {

Trial::Values values_in(const std::filesystem::path& folder) {
  return {{"--server", {"localhost:8042"}},
          {"--certificate", {folder / "cert.pem"}},
          {"--key", {folder / "key.pem"}},
          {"--ca", {folder / "ca.pem"}}};
}

TEST(AgentTrial, stands_for_a_file) {
  const testing::ConfigFiles files;
  auto values = values_in(files.path());
  values["--channel"] = {"5001:web", "[::1]:5002:a.b-c"};
  const auto toml = trial().toml(values);
  ASSERT_TRUE(toml) << toml.error().text;
  const auto config = load_config(ConfigSource::of_command_line(*toml));
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->servers.front().address, (Endpoint{"localhost", 8042}));
  ASSERT_EQ(config->channels.size(), 2u);
  EXPECT_EQ(config->channels[0].port.listen, (Endpoint{"127.0.0.1", 5001}));
  EXPECT_EQ(config->channels[0].service_id, "web");
  EXPECT_EQ(config->channels[1].port.listen, (Endpoint{"::1", 5002}));
  EXPECT_FALSE(config->metrics.listen);
}

TEST(AgentTrial, tells_what_is_wrong_with_a_channel) {
  const testing::ConfigFiles files;
  for (const char* wrong : {"5001", ":web", "5001:", ""}) {
    auto values = values_in(files.path());
    values["--channel"] = {wrong};
    const auto toml = trial().toml(values);
    ASSERT_FALSE(toml) << wrong;
    EXPECT_EQ(toml.error().code, "trial.malformed");
  }
}

TEST(AgentTrial, cannot_be_made_to_say_something_else) {
  const testing::ConfigFiles files;
  auto values = values_in(files.path());
  values["--channel"] = {"5001:web\"\n[metrics]\nlisten = \"0.0.0.0:1"};
  const auto toml = trial().toml(values);
  ASSERT_TRUE(toml);
  EXPECT_FALSE(load_config(ConfigSource::of_command_line(*toml)));
}

}  // namespace
}  // namespace culvert::agent
