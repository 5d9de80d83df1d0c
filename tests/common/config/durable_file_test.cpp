// SPDX-License-Identifier: Apache-2.0
#include "common/config/durable_file.hpp"

#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config/open_folder.hpp"
#include "tests/testing/file_facts.hpp"
#include "tests/testing/temporary_directory.hpp"

namespace culvert {
namespace {

using testing::content_of;
using testing::mode_of;
using testing::names_in;
using testing::owner_of;
using testing::TemporaryDirectory;
using testing::Umask;
using Names = std::vector<std::string>;

TEST(WriteDurably, makes_the_file_or_replaces_its_content) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "state";
  ASSERT_TRUE(write_durably(file, "a longer first content", 0600));
  EXPECT_EQ(content_of(file), "a longer first content");
  ASSERT_TRUE(write_durably(file, "second", 0600));
  EXPECT_EQ(content_of(file), "second");
  EXPECT_EQ(names_in(directory.path()), Names{"state"});
}

TEST(WriteDurably, gives_the_mode_whatever_the_umask_and_the_older_file_say) {
  const TemporaryDirectory directory;
  const auto file = directory.write("state", "older", 0666);
  for (const mode_t mask : {0u, 0777u}) {
    const Umask umask(mask);
    ASSERT_TRUE(write_durably(file, "secret", 0600));
    EXPECT_EQ(mode_of(file), 0600u) << mask;
    ASSERT_TRUE(write_durably(file, "public", 0644));
    EXPECT_EQ(mode_of(file), 0644u) << mask;
  }
}

TEST(WriteDurably, neither_uses_nor_follows_what_a_crash_or_another_user_left) {
  const TemporaryDirectory directory;
  const auto victim = directory.write("victim", "untouched", 0644);
  const auto file = directory.path() / "state";
  directory.write("state.new", "torn", 0666);
  ASSERT_TRUE(write_durably(file, "first", 0600));
  EXPECT_EQ(mode_of(file), 0600u);
  std::filesystem::create_symlink(victim, directory.path() / "state.new");
  ASSERT_TRUE(write_durably(file, "second", 0600));
  EXPECT_EQ(content_of(file), "second");
  EXPECT_EQ(content_of(victim), "untouched");
  EXPECT_EQ(names_in(directory.path()), (Names{"state", "victim"}));
}

TEST(WriteDurably, names_the_file_and_the_cause_in_an_error_but_no_content) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "missing" / "state";
  const auto written = write_durably(file, "hunter2", 0600);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, "file.not_written");
  EXPECT_TRUE(written.error().text.contains("missing: No such file or directory")) << written.error().text;
  EXPECT_FALSE(sync_folder(file.parent_path()));
  EXPECT_TRUE(sync_folder(directory.path()));

  std::filesystem::create_directory(directory.path() / "folder");
  const auto over_a_folder = write_durably(directory.path() / "folder", "hunter2", 0600);
  ASSERT_FALSE(over_a_folder);
  EXPECT_TRUE(over_a_folder.error().text.contains("folder: Is a directory")) << over_a_folder.error().text;
  EXPECT_FALSE(over_a_folder.error().text.contains("hunter2"));
  EXPECT_EQ(names_in(directory.path()), Names{"folder"});
}

TEST(WriteDurably, gives_files_of_root_to_the_owner_of_the_folder) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  const TemporaryDirectory directory;
  ASSERT_EQ(::chown(directory.path().c_str(), 4711, 4712), 0);
  ASSERT_TRUE(write_durably(directory.path() / "state", "content", 0600));
  EXPECT_EQ(owner_of(directory.path() / "state"), std::pair(uid_t{4711}, gid_t{4712}));
}

TEST(OpenFolder, makes_the_folder_only_if_it_is_missing) {
  const TemporaryDirectory directory;
  const Umask umask(0);
  ASSERT_TRUE(OpenFolder::open_or_make(directory.path() / "state/", 0700));
  EXPECT_EQ(mode_of(directory.path() / "state"), 0700u);
  ASSERT_TRUE(OpenFolder::open_or_make(directory.path() / "state", 0755));
  EXPECT_EQ(mode_of(directory.path() / "state"), 0700u);
  EXPECT_FALSE(OpenFolder::open_or_make(directory.path() / "a" / "b", 0700));
}

TEST(OpenFolder, makes_new_files_only_under_a_free_name) {
  const TemporaryDirectory directory;
  directory.write("file", "untouched");
  std::filesystem::create_symlink("missing", directory.path() / "link");
  const auto folder = OpenFolder::open(directory.path());
  ASSERT_TRUE(folder);
  for (const char* name : {"file", "link"}) {
    EXPECT_FALSE(folder->write_new(name, "new", 0600)) << name;
    EXPECT_FALSE(folder->make_folder(name, 0700)) << name;
  }
  EXPECT_EQ(content_of(directory.path() / "file"), "untouched");
  EXPECT_EQ(names_in(directory.path()), (Names{"file", "link"}));
}

TEST(OpenFolder, removes_files_links_and_folders_but_nothing_behind_a_link) {
  const TemporaryDirectory directory;
  directory.write("elsewhere/kept", "");
  directory.write("here/file", "");
  directory.write("here/folder/file", "");
  std::filesystem::create_directory_symlink(directory.path() / "elsewhere", directory.path() / "here" / "link");
  const auto folder = OpenFolder::open(directory.path() / "here");
  ASSERT_TRUE(folder);
  for (const char* name : {"file", "folder", "link", "missing"}) folder->remove(name);
  EXPECT_EQ(names_in(directory.path() / "here"), Names{});
  EXPECT_EQ(names_in(directory.path() / "elsewhere"), Names{"kept"});
}

}  // namespace
}  // namespace culvert
