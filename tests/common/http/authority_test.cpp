// SPDX-License-Identifier: Apache-2.0
#include "common/http/authority.hpp"

#include <string>

#include <gtest/gtest.h>

#include "tests/testing/http_table.hpp"

namespace culvert::http {
namespace {

constexpr std::uint16_t no_port = 0;  // No authority has it, so no port is left out.

std::string verdict(const std::string& spelling, std::optional<std::uint16_t> port_if_missing) {
  const auto authority = parse_authority(spelling, port_if_missing);
  if (!authority) return "-";
  std::string text;
  append_authority(text, *authority, no_port);
  return text;
}

TEST(Authority, has_one_form_for_each_spelling_or_none) {
  const auto rows = read_http_table("authorities.txt", 2);
  EXPECT_GE(rows.size(), 150u);
  for (const TableRow& row : rows) {
    SCOPED_TRACE("authorities.txt:" + std::to_string(row.line) + " " + row.cells.at(0));
    EXPECT_EQ(verdict(row.cells.at(0), 80), row.cells.at(1));
    if (row.cells.at(1) != "-") EXPECT_EQ(verdict(row.cells.at(1), std::nullopt), row.cells.at(1));
  }
}

TEST(Authority, has_its_port_where_there_is_no_default) {
  EXPECT_EQ(verdict("erp", std::nullopt), "-");
  EXPECT_EQ(verdict("[::1]", std::nullopt), "-");
  EXPECT_EQ(verdict("erp:443", std::nullopt), "erp:443");
}

TEST(Authority, is_written_without_the_port_that_goes_without_saying) {
  std::string text;
  append_authority(text, {"erp", 80}, 80);
  append_authority(text += ' ', {"erp", 443}, 80);
  append_authority(text += ' ', {"::1", 443}, 443);
  EXPECT_EQ(text, "erp erp:443 [::1]");
}

}  // namespace
}  // namespace culvert::http
