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

// The server keeps encoded slashes, so that the agent's mapping can still refuse them.
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

TEST(Path, is_appended_behind_what_is_there) {
  std::string out = "/before";
  EXPECT_EQ(append_canonical_path(out, "/a//%62", EncodedSlash::refuse), nullptr);
  EXPECT_EQ(out, "/before/a/b");
  EXPECT_EQ(append_canonical_path(out, "/a/../../b", EncodedSlash::refuse), &refusals::path_climbs_out);
}

TEST(Query, becomes_ascii_for_older_peers) {
  for (const auto& [raw, ascii] : {std::pair{"", ""},
                                   {"?a=b&c=%7e%2F", "?a=b&c=%7e%2F"},
                                   {"?{\"\\<>^`|}'", "?{\"\\<>^`|}'"},
                                   {"?q=\xe9", "?q=%E9"},
                                   {"?q=\xc3\xbc", "?q=%C3%BC"},
                                   {"?#", "?%23"},
                                   {"?100%", "?100%25"},
                                   {"?%u00fc%g0%4", "?%25u00fc%25g0%254"}}) {
    std::string out;
    append_ascii_query(out, raw);
    EXPECT_EQ(out, ascii) << raw;
  }
}

TEST(Query, is_anything_but_blanks_and_control_bytes) {
  for (const char* good : {"", "a=b", "%41", "?", "/../", "{a}", "\\", "%2f%00", "\"<>^`", "#", "100%", "%u00fc", "%g0",
                           "\xe9", "\xc3\xbc"}) {
    EXPECT_TRUE(is_query(good)) << good;
  }
  for (const char* bad : {" ", "a b", "\x7f", "\x01", "\t", "\r\n"}) {
    EXPECT_FALSE(is_query(bad)) << bad;
  }
}

}  // namespace
}  // namespace culvert::http
