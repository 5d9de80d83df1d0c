// SPDX-License-Identifier: Apache-2.0
#include "common/program/status_text.hpp"

#include <boost/json/array.hpp>
#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(StatusText, has_a_line_per_value_and_a_block_per_list) {
  const boost::json::object status{
      {"program", "culvert-agent"},
      {"servers", boost::json::array{boost::json::object{{"name", "eu"}, {"tunnels_up", 2}},
                                     boost::json::object{{"name", "us"}, {"tunnels_up", 0}}}},
      {"channels", boost::json::array{}}};
  EXPECT_EQ(status_text(status),
            "program: culvert-agent\n"
            "servers:\n"
            "  - name=eu  tunnels_up=2\n"
            "  - name=us  tunnels_up=0\n"
            "channels: none\n");
}

TEST(StatusText, indents_a_list_within_an_entry) {
  const boost::json::object status{
      {"links", boost::json::array{boost::json::object{{"name", "eu"}, {"ids", boost::json::array{1, 2}}}}}};
  EXPECT_EQ(status_text(status),
            "links:\n"
            "  - name=eu\n"
            "    ids:\n"
            "    - 1\n"
            "    - 2\n");
}

TEST(StatusText, fits_into_one_line) {
  const boost::json::object status{
      {"servers", boost::json::array{boost::json::object{{"name", "eu"}, {"last_error", ""}},
                                     boost::json::object{{"name", "us"}, {"last_error", "dial.refused: no"}}}},
      {"tunnels", boost::json::array{boost::json::object{{"state", "up"}, {"streams", 16}},
                                     boost::json::object{{"state", "greeting"}, {"streams", 0}}}}};
  EXPECT_EQ(status_line(status), "1 tunnel up, 16 streams; server us: dial.refused: no");
  EXPECT_EQ(status_line({}), "0 tunnels up, 0 streams");
}

TEST(StatusText, never_passes_on_control_characters_of_a_peer) {
  const std::string text = status_text({{"peer", "a\x1b[2J\nb"}});
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\n'), text.size() - 1);
}

}  // namespace
}  // namespace culvert
