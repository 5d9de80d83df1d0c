// SPDX-License-Identifier: Apache-2.0
#include "common/tls/secret_hash.hpp"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(SecretHash, recognises_its_secret_and_no_other) {
  const auto made = SecretHash::of("s3cret");
  ASSERT_TRUE(made);
  const auto read = SecretHash::parse(made->text());
  ASSERT_TRUE(read) << made->text();
  EXPECT_EQ(*read, *made);
  EXPECT_TRUE(read->matches("s3cret"));
  EXPECT_FALSE(read->matches("s3cre"));
  EXPECT_FALSE(read->matches(""));
  EXPECT_NE(SecretHash::of("s3cret")->text(), made->text()) << "each has a salt of its own";
  EXPECT_FALSE(SecretHash::unmatchable().matches(""));
}

/// From Python: hashlib.scrypt(b"pleaseletmein", salt=bytes(range(16)), n=1024, r=8, p=1, dklen=32).
TEST(SecretHash, is_what_others_call_scrypt) {
  const auto read =
      SecretHash::parse("$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$x0jHUFkpNBiJVwY1AhuH7NuyxVlkarFnXjRNhp1B/eU");
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->matches("pleaseletmein"));
}

TEST(SecretHash, refuses_what_is_none) {
  const std::string good = SecretHash::of("x")->text();
  EXPECT_FALSE(SecretHash::parse(""));
  for (const auto& [from, to] : {std::pair("scrypt", "argon2"), std::pair("ln=14", "ln=9"), std::pair("ln=14", "ln=18"),
                                 std::pair("ln=14", "ln="), std::pair("r=8", "r=9"), std::pair("p=1", "p=2")}) {
    std::string bad = good;
    bad.replace(bad.find(from), std::string_view(from).size(), to);
    EXPECT_FALSE(SecretHash::parse(bad)) << bad;
  }
  EXPECT_FALSE(SecretHash::parse(good + "A"));
  EXPECT_FALSE(SecretHash::parse(good + "="));
  EXPECT_FALSE(SecretHash::parse(good.substr(0, good.size() - 1)));
  EXPECT_FALSE(SecretHash::parse(good.substr(0, good.rfind('$'))));
}

TEST(SecretChecker, is_slow_only_once) {
  const auto hash = *SecretHash::of("s3cret");
  SecretChecker checker;
  EXPECT_FALSE(checker.is_right(hash, "wrong"));
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(checker.is_right(hash, "s3cret"));
  const auto slow = std::chrono::steady_clock::now() - began;
  const auto again = std::chrono::steady_clock::now();
  EXPECT_TRUE(checker.is_right(hash, "s3cret"));
  EXPECT_LT(std::chrono::steady_clock::now() - again, slow / 5);
  EXPECT_FALSE(checker.is_right(hash, "wrong"));
  EXPECT_FALSE(checker.is_right(*SecretHash::of("other"), "s3cret"));
}

}  // namespace
}  // namespace culvert
