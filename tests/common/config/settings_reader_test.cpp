// SPDX-License-Identifier: Apache-2.0
#include "common/config/settings_reader.hpp"

#include <gtest/gtest.h>

#include "tests/testing/temporary_directory.hpp"

namespace culvert {
namespace {

using testing::TemporaryDirectory;

TEST(AdminSettings, are_found_whatever_else_is_wrong_with_the_file) {
  const TemporaryDirectory directory;
  const auto file = directory.write(
      "agent.toml", "[tunnel]\ncertificate = \"is-not-there.crt\"\nnonsense = 1\n[admin]\nsocket = \"a.sock\"\n");
  const auto admin = load_admin_settings(file);
  ASSERT_TRUE(admin.has_value()) << admin.error().text;
  EXPECT_EQ(admin->socket, directory.path() / "a.sock");
}

TEST(AdminSettings, of_a_file_that_names_no_socket_are_empty) {
  const TemporaryDirectory directory;
  const auto admin = load_admin_settings(directory.write("agent.toml", ""));
  ASSERT_TRUE(admin.has_value()) << admin.error().text;
  EXPECT_TRUE(admin->socket.empty());
}

TEST(AdminSettings, need_a_file_that_can_be_read) {
  const TemporaryDirectory directory;
  const auto admin = load_admin_settings(directory.path() / "none.toml");
  ASSERT_FALSE(admin.has_value());
  EXPECT_EQ(admin.error().code, "config.unreadable");
}

}  // namespace
}  // namespace culvert
