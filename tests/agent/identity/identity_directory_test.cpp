// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/identity_directory.hpp"

#include <chrono>
#include <future>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/net/unique_fd.hpp"
#include "tests/agent/identity/sample_identity.hpp"
#include "tests/testing/file_facts.hpp"
#include "tests/testing/temporary_directory.hpp"

namespace culvert::agent {
namespace {

using culvert::testing::content_of;
using culvert::testing::mode_of;
using culvert::testing::names_in;
using culvert::testing::owner_of;
using culvert::testing::TemporaryDirectory;
using culvert::testing::Umask;
using testing::sample_identity;
using testing::sample_key;
using testing::version_in;
using Names = std::vector<std::string>;

TEST(IdentityDirectory, has_no_identity_before_the_first_write) {
  const TemporaryDirectory parent;
  IdentityDirectory directory(parent.path() / "agent");
  EXPECT_FALSE(directory.has_identity());
  EXPECT_FALSE(directory.pending()->has_value());
  ASSERT_TRUE(directory.write(sample_identity(1)));
  EXPECT_TRUE(directory.has_identity());
  EXPECT_EQ(version_in(directory), 1);
  EXPECT_EQ(names_in(directory.path()), (Names{"current", "generation-1"}));
  std::filesystem::remove(directory.files().ca);
  EXPECT_FALSE(directory.has_identity());
}

TEST(IdentityDirectory, keeps_the_identity_before_the_one_in_force_and_no_older_one) {
  const TemporaryDirectory parent;
  IdentityDirectory directory(parent.path() / "agent");
  for (int version = 1; version <= 12; ++version) {
    ASSERT_TRUE(directory.write(sample_identity(version)));
    EXPECT_EQ(version_in(directory), version);
  }
  EXPECT_EQ(names_in(directory.path()), (Names{"current", "generation-11", "generation-12"}));
  EXPECT_EQ(testing::version_in(directory.path() / "generation-11"), 11);
}

TEST(IdentityDirectory, shows_the_key_to_its_owner_only_whatever_the_umask_is) {
  for (const mode_t mask : {0u, 0077u, 0777u}) {
    const TemporaryDirectory parent;
    const Umask umask(mask);
    IdentityDirectory directory(parent.path() / "agent");
    ASSERT_TRUE(directory.keep_pending(sample_key(1)));
    EXPECT_EQ(mode_of(directory.path() / "pending.pem"), 0600u);
    ASSERT_TRUE(directory.write(sample_identity(1)));
    EXPECT_EQ(mode_of(directory.path()), 0700u);
    EXPECT_EQ(mode_of(directory.path() / "generation-1"), 0700u);
    EXPECT_EQ(mode_of(directory.files().private_key), 0600u);
    EXPECT_EQ(mode_of(directory.files().certificate), 0644u);
    EXPECT_EQ(mode_of(directory.files().ca), 0644u);
  }
}

TEST(IdentityDirectory, keeps_the_pending_key_until_an_identity_is_written) {
  const TemporaryDirectory parent;
  IdentityDirectory directory(parent.path() / "agent");
  ASSERT_TRUE(directory.keep_pending(sample_key(1)));
  ASSERT_TRUE(directory.keep_pending(sample_key(2)));
  EXPECT_EQ(directory.pending()->value().reveal(), sample_key(2).reveal());
  EXPECT_FALSE(directory.has_identity());
  ASSERT_TRUE(directory.write(sample_identity(2)));
  EXPECT_FALSE(directory.pending()->has_value());
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "pending.pem"));
}

TEST(IdentityDirectory, refuses_a_pending_key_that_others_may_read) {
  const TemporaryDirectory parent;
  parent.write("pending.pem", "key", 0644);
  EXPECT_EQ(IdentityDirectory(parent.path()).pending().error().code, "secret.mode");
}

TEST(IdentityDirectory, neither_uses_nor_keeps_what_a_crash_left_behind) {
  const TemporaryDirectory parent;
  IdentityDirectory directory(parent.path());
  ASSERT_TRUE(directory.write(sample_identity(1)));
  parent.write("generation-2/key.pem", "torn", 0600);
  parent.write("generation-40/certificate.pem", "torn", 0600);
  parent.write("generation-7", "not a folder", 0600);
  parent.write("pending.pem.new", "torn", 0600);
  std::filesystem::create_symlink("generation-40", parent.path() / "current.new");
  EXPECT_EQ(version_in(directory), 1);
  ASSERT_TRUE(directory.write(sample_identity(2)));
  EXPECT_EQ(version_in(directory), 2);
  EXPECT_EQ(names_in(parent.path()), (Names{"current", "generation-1", "generation-41"}));
}

TEST(IdentityDirectory, leaves_files_alone_that_it_did_not_make) {
  const TemporaryDirectory parent;
  const Names others{"README", "agent.new", "generation-", "generation-1x", "generation-18446744073709551615"};
  for (const std::string& name : others) parent.write(name, "");
  IdentityDirectory directory(parent.path());
  ASSERT_TRUE(directory.write(sample_identity(1)));
  ASSERT_TRUE(directory.write(sample_identity(2)));
  for (const std::string& name : others) EXPECT_TRUE(std::filesystem::exists(parent.path() / name)) << name;
  EXPECT_EQ(version_in(directory), 2);
}

TEST(IdentityDirectory, gives_what_root_makes_to_the_owner_of_the_directory) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  const TemporaryDirectory parent;
  const std::pair owner(uid_t{4711}, gid_t{4712});
  ASSERT_EQ(::chown(parent.path().c_str(), owner.first, owner.second), 0);
  IdentityDirectory directory(parent.path() / "agent");
  ASSERT_TRUE(directory.keep_pending(sample_key(1)));
  EXPECT_EQ(owner_of(directory.path()), owner);
  EXPECT_EQ(owner_of(directory.path() / "pending.pem"), owner);
  ASSERT_TRUE(directory.write(sample_identity(1)));
  const auto [certificate, private_key, ca] = directory.files();
  for (const auto& path :
       {directory.path() / "current", directory.path() / "generation-1", certificate, private_key, ca})
    EXPECT_EQ(owner_of(path), owner) << path;
}

TEST(IdentityDirectory, waits_for_another_process_that_writes) {
  const TemporaryDirectory parent;
  UniqueFd other(::open(parent.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
  auto written = std::async(std::launch::async,
                            [&] { return IdentityDirectory(parent.path()).write(sample_identity(1)).has_value(); });
  EXPECT_EQ(written.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  EXPECT_EQ(names_in(parent.path()), Names{});
  other.close();
  EXPECT_TRUE(written.get());
  EXPECT_EQ(version_in(IdentityDirectory(parent.path())), 1);
}

TEST(IdentityDirectory, names_what_it_could_not_write_but_no_secret) {
  const TemporaryDirectory parent;
  IdentityDirectory directory(parent.write("file", "") / "agent");
  for (const auto& written : {directory.write(sample_identity(1)), directory.keep_pending(sample_key(1))}) {
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, "identity.not_written");
    EXPECT_TRUE(written.error().text.contains("file: Not a directory")) << written.error().text;
    EXPECT_FALSE(written.error().text.contains(sample_key(1).reveal()));
  }
}

}  // namespace
}  // namespace culvert::agent
