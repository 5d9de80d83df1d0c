// SPDX-License-Identifier: Apache-2.0
#include "common/http/head_order.hpp"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace culvert::http {
namespace {

/// Takes one part for each letter: i(nterim), h(ead) with a body of unknown length, l(ength), n(o body), b(ody),
/// t(railers). Returns the letters up to the first that is out of place.
std::string taken(std::string_view parts) {
  HeadOrder order;
  const auto take = [&order](char part) {
    switch (part) {
      case 'i': return order.take_interim();
      case 'h': return order.take_head({Framing::Kind::unknown, 0});
      case 'l': return order.take_head({Framing::Kind::length, 5});
      case 'n': return order.take_head({});
      case 'b': return order.take_body();
      default: return order.take_trailers();
    }
  };
  std::size_t good = 0;
  while (good < parts.size() && take(parts[good])) ++good;
  return std::string(parts.substr(0, good));
}

TEST(HeadOrder, takes_a_message_part_by_part) {
  for (const char* good : {"h", "hb", "ht", "iihbbt", "lbb", "n", "in", "iiiiiiiiiiiiiiiiihbt"})
    EXPECT_EQ(taken(good), good);
}

TEST(HeadOrder, takes_nothing_out_of_place) {
  for (const char* bad : {"b",  "t",   "ib", "it", "hh",  "hi",  "hbh", "hbl", "hbi",  "ll",
                          "nn", "lbt", "lt", "nt", "htt", "htb", "hth", "hti", "hbtb", "hbtt"}) {
    const std::string_view text = bad;
    EXPECT_EQ(taken(text), text.substr(0, text.size() - 1)) << bad;
  }
}

}  // namespace
}  // namespace culvert::http
