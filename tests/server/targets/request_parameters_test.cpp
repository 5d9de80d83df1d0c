// SPDX-License-Identifier: Apache-2.0
#include "server/targets/request_parameters.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

/// "Name: value\n" for each field.
std::string lines_of(const http::Fields& fields) {
  std::string lines;
  for (const auto& [name, value] : fields) lines += std::string(name) + ": " + std::string(value) + "\n";
  return lines;
}

TEST(RequestParameters, are_read_in_their_order) {
  const auto read = read_request_parameters(R"({"X-B": ["1", "2"], "x-a": "three", "X-Empty": ""})",
                                            R"({"b": ["1", "x y&z"], "a\u00e9": "+", "c": []})");
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(lines_of(read->fields), "X-B: 1\nX-B: 2\nx-a: three\nX-Empty: \n");
  EXPECT_EQ(read->query, "b=1&b=x%20y%26z&a%C3%A9=%2B");
}

TEST(RequestParameters, each_part_may_be_missing) {
  const auto none = read_request_parameters("", " \n");
  EXPECT_TRUE(none && none->fields.empty() && none->query.empty());
  const auto fields = read_request_parameters(R"({"A": "b"})", "");
  EXPECT_TRUE(fields && lines_of(fields->fields) == "A: b\n" && fields->query.empty());
  const auto query = read_request_parameters("{}", R"({"a": ""})");
  EXPECT_TRUE(query && query->fields.empty() && query->query == "a=");
}

TEST(RequestParameters, a_file_has_both) {
  const auto both = read_request_parameters_file(R"({"queryParameters": {"a": ["1"]}, "headers": {"A": ["b"]}})");
  EXPECT_TRUE(both && lines_of(both->fields) == "A: b\n" && both->query == "a=1");
  EXPECT_TRUE(read_request_parameters_file(R"({"headers": null})"));
  EXPECT_TRUE(read_request_parameters_file("{}"));
  const auto unknown = read_request_parameters_file(R"({"Headers": {}})");
  EXPECT_TRUE(!unknown && unknown.error().text == "Headers: unknown key; write headers or queryParameters");
  EXPECT_FALSE(read_request_parameters_file("[]"));
  EXPECT_FALSE(read_request_parameters_file(R"({"headers": ["A"]})"));
}

TEST(RequestParameters, a_bad_entry_is_named_and_no_value_is_shown) {
  struct Row {
    std::string_view headers;
    std::string_view query;
    std::string_view begin;
  };
  for (const auto& [headers, query, begin] : {
           Row{R"({"Host": "c4n4ry"})", "", "headers: Host: only Culvert"},
           Row{R"({"content-length": ["c4n4ry"]})", "", "headers: content-length: only Culvert"},
           Row{R"({"Transfer_Encoding": "c4n4ry"})", "", "headers: Transfer_Encoding: only Culvert"},
           Row{R"({"Proxy-Authorization": "c4n4ry"})", "", "headers: Proxy-Authorization: only Culvert"},
           Row{R"({"Connection": "c4n4ry"})", "", "headers: Connection: only Culvert"},
           Row{R"({"X-Forwarded-For": "c4n4ry"})", "", "headers: X-Forwarded-For: only Culvert"},
           Row{R"({"SAP-Connectivity-Authentication": "c4n4ry"})", "",
               "headers: SAP-Connectivity-Authentication: only"},
           Row{R"({"A B": "c4n4ry"})", "", "headers: A%20B: not the name"},
           Row{R"({"": "c4n4ry"})", "", "headers: : not the name"},
           Row{R"({"A": "c4n4ry\r\nB: c"})", "", "headers: A: the value has control characters"},
           Row{R"({"A": " c4n4ry"})", "", "headers: A: the value has control characters or blanks"},
           Row{R"({"A": ["b", {"c4n4ry": 1}]})", "", "headers: A: write a text"},
           Row{R"({"A": null})", "", "headers: A: write a text"},
           Row{R"({"A": 7})", "", "headers: A: write a text"},
           Row{R"({"A": "c4n4ry", "A": "b"})", "", "headers: not a JSON object"},
           Row{R"(["c4n4ry"])", "", "headers: not a JSON object"},
           Row{"c4n4ry", "", "headers: not a JSON object"},
           Row{"", "c4n4ry", "queryParameters: not a JSON object"},
           Row{"", R"({"": "c4n4ry"})", "queryParameters: a query parameter has an empty name"},
           Row{"", R"({"a": [["c4n4ry"]]})", "queryParameters: a: write a text"},
       }) {
    const auto read = read_request_parameters(headers, query);
    ASSERT_FALSE(read) << headers << query;
    EXPECT_EQ(read.error().code, "gateway.bad_parameters");
    EXPECT_TRUE(read.error().text.starts_with(begin)) << read.error().text;
    EXPECT_FALSE(read.error().text.contains("c4n4ry")) << read.error().text;
  }
}

TEST(RequestParameters, are_limited) {
  const auto with = [](std::size_t headers, std::size_t query) {
    const auto list = [](std::size_t count) {
      std::string text = R"({"A": [)";
      for (std::size_t i = 0; i < count; ++i) text += i == 0 ? R"("b")" : R"(,"b")";
      return text + "]}";
    };
    return read_request_parameters(list(headers), list(query)).has_value();
  };
  EXPECT_TRUE(with(100, 0));
  EXPECT_TRUE(with(60, 40));
  EXPECT_FALSE(with(101, 0));
  EXPECT_FALSE(with(60, 41));
  const auto of_size = [](std::size_t size) {
    const std::string begin = R"({"A": ")";
    return read_request_parameters(begin + std::string(size - begin.size() - 2, 'b') + "\"}", "").has_value();
  };
  EXPECT_TRUE(of_size(request_parameters_json_bytes_max));
  EXPECT_FALSE(of_size(request_parameters_json_bytes_max + 1));
}

}  // namespace
}  // namespace culvert::server
