// SPDX-License-Identifier: Apache-2.0
#include "server/trial.hpp"

#include <gtest/gtest.h>

#include "server/config/config.hpp"
#include "tests/testing/config_files.hpp"

namespace culvert::server {
namespace {

TEST(ServerTrial, stands_for_a_file) {
  const testing::ConfigFiles files;
  const Trial::Values values{{"--trust-domain", {"example.org"}},
                             {"--account", {"acme"}},
                             {"--service", {"web=127.0.0.1:8000", "db=[::1]:5432"}},
                             {"--certificate", {files.path() / "cert.pem"}},
                             {"--key", {files.path() / "key.pem"}},
                             {"--ca", {files.path() / "ca.pem"}}};
  const auto toml = trial().toml(values);
  ASSERT_TRUE(toml) << toml.error().text;
  const auto config = load_config(ConfigSource::of_command_line(*toml));
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->tunnel.listen, (Endpoint{"127.0.0.1", 8042})) << "only this machine, unless told otherwise";
  ASSERT_EQ(config->service_mappings.size(), 2u);
  EXPECT_EQ(config->service_mappings[1].account, "acme");
  EXPECT_EQ(config->service_mappings[1].service_id, "db");
  EXPECT_EQ(config->service_mappings[1].internal_address, (Endpoint{"::1", 5432}));
  EXPECT_FALSE(config->metrics.listen);
}

TEST(ServerTrial, tells_what_is_wrong_with_a_service) {
  for (const char* wrong : {"web", "=127.0.0.1:80", "web=", ""}) {
    const auto toml = trial().toml({{"--trust-domain", {"example.org"}},
                                    {"--account", {"acme"}},
                                    {"--service", {wrong}},
                                    {"--certificate", {"c"}},
                                    {"--key", {"k"}},
                                    {"--ca", {"a"}}});
    ASSERT_FALSE(toml) << wrong;
    EXPECT_EQ(toml.error().code, "trial.malformed");
  }
}

}  // namespace
}  // namespace culvert::server
