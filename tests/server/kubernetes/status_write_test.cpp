// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/status_write.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

namespace culvert::server {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

json::object status(std::string_view text) {
  return json::parse(text).as_object();
}
json::object accepted(std::string_view holds, std::string_view reason) {
  return {{"conditions",
           json::array{json::object{{"type", "Accepted"}, {"status", holds}, {"reason", reason}, {"message", "why"}}}}};
}
const WrittenStatuses::Time start{1000h};

TEST(StatusWrite, removes_what_is_not_there_any_more) {
  EXPECT_EQ(json::serialize(patch_of({"a", "u", "7", status(R"({"port": 1, "x": 2})"), status(R"({"x": 3})")})),
            R"({"metadata":{"resourceVersion":"7"},"status":{"x":3,"port":null}})");
}

TEST(StatusWrite, removes_members_of_members) {
  const auto before = status(R"({"token": {"id": "a", "usedBy": "k", "x": {"y": 1}}, "z": {"w": 1}})");
  EXPECT_EQ(
      json::serialize(patch_of({"a", "u", "7", before, status(R"({"token": {"id": "b", "x": 1}})")}).at("status")),
      R"({"token":{"id":"b","x":1,"usedBy":null},"z":null})");
}

TEST(StatusWrite, reports_a_refusal_once_for_each_reason) {
  struct Row {
    json::object before;
    json::object after;
    std::optional<RefusalReason> refusal;
  };
  const json::object good = accepted("True", "Accepted");
  for (const auto& [before, after, refusal] : {
           Row{{}, good, std::nullopt},
           Row{{}, accepted("False", "BadType"), RefusalReason{"BadType", "why"}},
           Row{good, accepted("False", "BadType"), RefusalReason{"BadType", "why"}},
           Row{accepted("False", "BadType"), accepted("False", "BadType"), std::nullopt},
           Row{accepted("False", "BadType"), accepted("False", "Duplicate"), RefusalReason{"Duplicate", "why"}},
           Row{accepted("False", "BadType"), good, std::nullopt},
       })
    EXPECT_EQ(new_refusal({"a", "u", "7", before, after}), refusal) << json::serialize(after);
}

TEST(WrittenStatuses, stand_in_for_what_the_informer_has_not_seen_yet) {
  WrittenStatuses written;
  const json::object old = status(R"({"x": 1})");
  const json::object fresh = status(R"({"x": 2})");
  EXPECT_EQ(written.known("a", "u", old, start), old);
  written.note({"a", "u", "7", old, fresh}, start);
  EXPECT_EQ(written.known("a", "u", old, start + 10s), fresh);
  EXPECT_EQ(written.known("b", "u", old, start), old) << "another object";
  EXPECT_EQ(written.known("a", "u", fresh, start + 1s), fresh) << "it has come back";
  EXPECT_EQ(written.known("a", "u", old, start + 1s), old) << "and somebody else has changed it since then";
}

TEST(WrittenStatuses, end_when_they_do_not_come_back) {
  WrittenStatuses written;
  written.note({"a", "u", "7", {}, status(R"({"x": 2})")}, start);
  EXPECT_EQ(written.known("a", "u", {}, start + 11s), json::object());
  EXPECT_EQ(written.known("a", "u", {}, start), json::object()) << "it is forgotten";
}

TEST(WrittenStatuses, are_not_of_a_new_object_of_the_same_name) {
  WrittenStatuses written;
  written.note({"a", "u", "7", {}, status(R"({"port": 20100})")}, start);
  EXPECT_EQ(written.known("a", "another", {}, start), json::object());
}

TEST(WrittenStatuses, are_forgotten_with_their_object) {
  WrittenStatuses written;
  written.note({"a", "u", "7", {}, status(R"({"x": 1})")}, start);
  written.note({"b", "u", "7", {}, status(R"({"x": 1})")}, start);
  written.keep_only([](const std::string& key) { return key == "b"; });
  EXPECT_EQ(written.known("a", "u", {}, start), json::object());
  EXPECT_EQ(written.known("b", "u", {}, start), status(R"({"x": 1})"));
}

}  // namespace
}  // namespace culvert::server
