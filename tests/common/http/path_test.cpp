// SPDX-License-Identifier: Apache-2.0
#include "common/http/path.hpp"

#include <string>

#include <gtest/gtest.h>

#include "tests/testing/http_table.hpp"

namespace culvert::http {
namespace {

std::string verdict(const std::string& spelling, EncodedSlash slash) {
  std::string canonical;
  const Flaw flaw = append_canonical_path(canonical, spelling, slash);
  return flaw == nullptr ? canonical : std::string(flaw->code.substr(5));
}

TEST(Path, has_one_form_for_each_spelling_or_none) {
  const auto rows = read_http_table("paths.txt", 3);
  EXPECT_GE(rows.size(), 200u);
  for (const TableRow& row : rows) {
    SCOPED_TRACE("paths.txt:" + std::to_string(row.line) + " " + row.cells.at(0));
    EXPECT_EQ(verdict(row.cells.at(0), EncodedSlash::refuse), row.cells.at(1));
    EXPECT_EQ(verdict(row.cells.at(0), EncodedSlash::keep), row.cells.back()) << "with encoded slashes kept";
  }
}

TEST(Path, in_its_canonical_form_stays_as_it_is) {
  for (const TableRow& row : read_http_table("paths.txt", 3)) {
    SCOPED_TRACE("paths.txt:" + std::to_string(row.line));
    for (const std::string& canonical : {row.cells.at(1), row.cells.back()}) {
      if (canonical.starts_with('/')) EXPECT_EQ(verdict(canonical, EncodedSlash::keep), canonical);
    }
  }
}

// The server, which keeps encoded slashes, passes on what the agent's mapping may then refuse: nothing gets lost
// between.
TEST(Path, is_taken_in_two_steps_where_it_is_taken_in_one) {
  for (const TableRow& row : read_http_table("paths.txt", 3)) {
    SCOPED_TRACE("paths.txt:" + std::to_string(row.line));
    const std::string kept = row.cells.back();
    if (!kept.starts_with('/'))
      EXPECT_FALSE(row.cells.at(1).starts_with('/'));
    else
      EXPECT_EQ(verdict(kept, EncodedSlash::refuse), row.cells.at(1));
  }
}

TEST(Path, is_appended_behind_what_is_there_and_never_climbs_into_it) {
  std::string out = "/before";
  EXPECT_EQ(append_canonical_path(out, "/a/../b", EncodedSlash::refuse), nullptr);
  EXPECT_EQ(out, "/before/b");
  EXPECT_EQ(append_canonical_path(out, "/a/../../b", EncodedSlash::refuse), &refusals::path_climbs_out);
}

TEST(Query, is_printable_ascii_with_whole_triplets) {
  for (const char* good :
       {"", "a=b", "a=b&c", "%41", "?", "/../", "a'b", "[a]", "{a}", "\\", "%2f%00", "a|b", "\"<>^`"}) {
    EXPECT_TRUE(is_query(good)) << good;
  }
  for (const char* bad : {" ", "a b", "#", "a#b", "%", "%1", "%g0", "\x7f", "\x01", "\xe9", "\t"}) {
    EXPECT_FALSE(is_query(bad)) << bad;
  }
}

}  // namespace
}  // namespace culvert::http
