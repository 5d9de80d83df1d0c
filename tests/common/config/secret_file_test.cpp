// SPDX-License-Identifier: Apache-2.0
#include "common/config/secret_file.hpp"

#include <string>
#include <type_traits>

#include <gtest/gtest.h>

#include "tests/testing/temporary_directory.hpp"

namespace culvert {
namespace {

using testing::TemporaryDirectory;

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);

std::string code_of(const Result<Secret>& secret) {
  return secret ? "" : secret.error().code;
}

TEST(SecretFile, is_read_without_its_final_newline) {
  const TemporaryDirectory directory;
  EXPECT_EQ(read_secret_file(directory.write("a", "hunter2"))->reveal(), "hunter2");
  EXPECT_EQ(read_secret_file(directory.write("b", "hunter2\n"))->reveal(), "hunter2");
  EXPECT_EQ(read_secret_file(directory.write("c", "hunter2\r\n"))->reveal(), "hunter2");
  EXPECT_EQ(read_secret_file(directory.write("d", " hunter2 \n\n"))->reveal(), " hunter2 \n");
}

TEST(SecretFile, may_be_read_by_its_group_but_not_by_others) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(read_secret_file(directory.write("group", "x", 0440)));
  for (const mode_t mode : {0644u, 0602u, 0601u})
    EXPECT_EQ(code_of(read_secret_file(directory.write("others", "x", mode))), "secret.mode") << mode;
}

TEST(SecretFile, is_refused_when_it_is_empty) {
  const TemporaryDirectory directory;
  EXPECT_EQ(code_of(read_secret_file(directory.write("a", ""))), "secret.empty");
  EXPECT_EQ(code_of(read_secret_file(directory.write("b", "\n"))), "secret.empty");
}

TEST(SecretFile, has_at_most_64_kibibytes) {
  const TemporaryDirectory directory;
  EXPECT_EQ(read_secret_file(directory.write("a", std::string(65536, 'x')))->reveal().size(), 65536u);
  EXPECT_EQ(code_of(read_secret_file(directory.write("b", std::string(65537, 'x')))), "secret.too_large");
}

TEST(SecretFile, is_neither_utf16_nor_marked) {
  using namespace std::string_literals;
  const TemporaryDirectory directory;
  for (const std::string& content :
       {"\xef\xbb\xbfhunter2"s, "\xff\xfeh\0u\0"s, "\xfe\xff\0h\0u"s, "h\0u\0"s, "\0h\0u"s})
    EXPECT_EQ(code_of(read_secret_file(directory.write("a", content))), "secret.wrong_encoding");
  EXPECT_EQ(read_secret_file(directory.write("b", "h\xc3\xbcnter"))->reveal(), "h\xc3\xbcnter");
}

TEST(SecretFile, must_be_a_regular_file_that_is_there) {
  const TemporaryDirectory directory;
  EXPECT_EQ(code_of(read_secret_file(directory.path() / "none")), "secret.unreadable");
  EXPECT_EQ(code_of(read_secret_file(directory.path())), "secret.unreadable");
  const auto fifo = directory.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(code_of(read_secret_file(fifo)), "secret.unreadable");
}

TEST(SecretFile, never_shows_its_content_in_an_error) {
  const TemporaryDirectory directory;
  const auto secret = read_secret_file(directory.write("a", "hunter2", 0644));
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().text.find("hunter2"), std::string::npos);
}

TEST(Secret, leaves_nothing_where_it_was_moved_from) {
  Secret first(std::vector<char>{'a', 'b'});
  const Secret second = std::move(first);
  EXPECT_EQ(second.reveal(), "ab");
  EXPECT_EQ(first.reveal(), "");  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace culvert
