// SPDX-License-Identifier: Apache-2.0
#include "server/targets/destination_text.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

/// "[name]=[value]" for each property, or the text of the error.
std::string shown(std::string_view text) {
  const auto properties = read_destination_properties(text);
  if (!properties) {
    EXPECT_EQ(properties.error().code, "gateway.bad_destination");
    return properties.error().text;
  }
  std::string all;
  for (const DestinationProperty& property : *properties)
    all += "[" + property.name + "]=[" + std::string(property.value.reveal()) + "]";
  return all;
}

TEST(Properties, are_read_as_java_reads_them) {
  struct Row {
    std::string_view text;
    std::string_view properties;
  };
  for (const auto& [text, properties] : {
           Row{"", ""},
           Row{"Name=a\nType=HTTP\n", "[Name]=[a][Type]=[HTTP]"},
           Row{"Name=a\r\nType=HTTP\rURL=b", "[Name]=[a][Type]=[HTTP][URL]=[b]"},
           Row{"#Password=x\n ! no\n\n \t\nName=a", "[Name]=[a]"},
           Row{"# no continuation\\\nName=a", "[Name]=[a]"},
           Row{"a = b \nc:d\ne f=g\nh\t:\ti", "[a]=[b ][c]=[d][e]=[f=g][h]=[i]"},
           Row{"a==b\nc=:d\ne:=f\ng", "[a]=[=b][c]=[:d][e]=[=f][g]=[]"},
           Row{R"(URL=https\://a\:1/b\=c)", "[URL]=[https://a:1/b=c]"},
           Row{R"(a\ b\=\:c=d)", "[a b=:c]=[d]"},
           Row{"a=b\\\n   c\\\r\n\td\ne=f", "[a]=[bcd][e]=[f]"},
           Row{"a=b\\\\\nc=d", "[a]=[b\\][c]=[d]"},
           Row{"a=b\\\n# c", "[a]=[b# c]"},
           Row{"a\\\n  b\\\n =c", "[ab]=[c]"},
           Row{"a=b\\", "[a]=[b]"},
           Row{"\\\n", ""},
           Row{R"(a=\t\n\r\f\q\\)", "[a]=[\t\n\r\fq\\]"},
           Row{R"(a=\u0041\u00e9\u20AC\ud83d\ude00)", "[a]=[A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80]"},
           Row{"a=\xc3\xa9", "[a]=[\xc3\xa9]"},
           Row{"\xef\xbb\xbfName=a", "[Name]=[a]"},
       })
    EXPECT_EQ(shown(text), properties) << text;
}

TEST(Properties, are_refused) {
  for (const char* text : {R"(a=\u)", R"(a=\u12)", R"(a=\u123g)", R"(a=\uu041)", R"(a=\ud83d)", R"(a=\ud83dx)",
                           R"(a=\ud83d\u0041)", R"(a=\ude00)", R"(a=\ude00\ude00)", R"(\u=a)"})
    EXPECT_TRUE(shown(text).starts_with("a \\u escape")) << text << ": " << shown(text);
  EXPECT_EQ(shown("a=1\nb=2\na=3"), "a: it is there twice; remove one");
  EXPECT_TRUE(shown("=b").starts_with("a property's name is empty"));
  EXPECT_TRUE(shown(R"(a\nb=c)").starts_with("a property's name is empty, has control"));
  EXPECT_TRUE(shown("a\xc2\x9b=c").starts_with("a property's name is empty, has control"));
  EXPECT_TRUE(shown("a=\xff").starts_with("not UTF-8"));
}

TEST(JsonDestination, is_flat) {
  EXPECT_EQ(shown(R"( {"Name":"a","N":7,"M":-1.50,"T":true,"F":false,"Z":null,"E":""} )"),
            "[Name]=[a][N]=[7][M]=[-1.50][T]=[true][F]=[false][E]=[]");
  EXPECT_EQ(shown(R"({"a\u0062":"\ud83d\ude00\\\"\/"})"), "[ab]=[\xf0\x9f\x98\x80\\\"/]");
  EXPECT_EQ(shown("{}"), "");
}

TEST(JsonDestination, is_refused) {
  EXPECT_EQ(shown(R"({"a":"1","b":{"c":"d"}})"),
            "b: is an object or an array, and a destination is flat; write a text");
  EXPECT_EQ(shown(R"({"a":[]})"), "a: is an object or an array, and a destination is flat; write a text");
  EXPECT_EQ(shown(R"({"a":"1","\u0061":"2"})"), "a: it is there twice; remove one");
  for (const char* text : {R"({"a":"1")", R"({"a":"1"} x)", R"({"a":"1"}{"b":"2"})", R"({a:"1"})", R"({"a":"1",})",
                           R"({"a":"\ud83d"})", R"({"a":01})"})
    EXPECT_TRUE(shown(text).starts_with("not valid JSON: ")) << text << ": " << shown(text);
  EXPECT_EQ(shown("[]"), "not a JSON object; write one destination");
}

TEST(DestinationText, is_limited) {
  const auto of_size = [](std::size_t size) {
    return read_destination_properties("a=" + std::string(size - 2, 'b')).has_value();
  };
  EXPECT_TRUE(of_size(destination_bytes_max));
  EXPECT_FALSE(of_size(destination_bytes_max + 1));
  const auto with = [](std::size_t count) {
    std::string properties;
    std::string json = "{";
    for (std::size_t i = 0; i < count; ++i) {
      properties += "a" + std::to_string(i) + "=b\n";
      json += (i == 0 ? "\"a" : ",\"a") + std::to_string(i) + "\":\"b\"";
    }
    const bool is_read = read_destination_properties(properties).has_value();
    EXPECT_EQ(read_destination_properties(json + "}").has_value(), is_read);
    return is_read;
  };
  EXPECT_TRUE(with(destination_properties_max));
  EXPECT_FALSE(with(destination_properties_max + 1));
  EXPECT_TRUE(read_destination_properties(std::string(256, 'n') + "=a"));
  EXPECT_FALSE(read_destination_properties(std::string(257, 'n') + "=a"));
}

/// "name:text" of each destination, or the text of the error.
std::string split(std::string_view json) {
  const auto destinations = split_export(json);
  if (!destinations) return destinations.error().text;
  std::string all;
  for (const auto& [name, text] : *destinations) all += name + ":" + text + "\n";
  return all;
}

TEST(Export, is_split_into_its_destinations) {
  const std::string_view a = R"({"Name":"a","Type":"HTTP","Password":"p"})";
  const std::string_view b = R"({"Name":"b","Type":"TCP"})";
  const std::string both = "a:" + std::string(a) + "\nb:" + std::string(b) + "\n";
  const auto filled = [&](std::string form) {
    form.replace(form.find('1'), 1, a);
    form.replace(form.find('2'), 1, b);
    return split(form);
  };
  EXPECT_EQ(split(a), "a:" + std::string(a) + "\n");
  EXPECT_EQ(filled("[1, 2]"), both);
  EXPECT_EQ(filled(R"({"subaccount":{"destinations":[1]},"instance":{"destinations":[2]}})"), both);
  EXPECT_EQ(
      filled(R"({"init_data":{"subaccount":{"policy":"update","destinations":[1]},"instance":{"destinations":[2]}}})"),
      both);
  EXPECT_EQ(filled(R"([{"owner":{},"destinationConfiguration":1,"authTokens":[{"type":"Basic"}]},)"
                   R"({"destinationConfiguration":2}])"),
            both);
  EXPECT_EQ(filled(R"({"Name":"my export","destinations":[1,2]})"), both) << "a container is not a destination";
  EXPECT_EQ(filled(R"([1,2,{"Name":"store.p12","Type":"CERTIFICATE","Content":"x"}])"), both);
}

TEST(Export, a_destination_keeps_what_is_wrong_with_it) {
  EXPECT_EQ(split(R"([{"Name":"a"}])"), "a:{\"Name\":\"a\"}\n") << "its type is missing";
  EXPECT_EQ(split(R"([{"Name":"a","Type":"HTTP","x":{"y":"z"}}])"), "a:{\"Name\":\"a\",\"Type\":\"HTTP\",\"x\":{}}\n");
  EXPECT_TRUE(split(R"([{"Name":"a","Name":"b"}])").starts_with("Name: it is there twice"));
}

TEST(Export, without_destinations_is_refused) {
  for (const char* json : {"[]", "{}", R"("Name")", R"({"destinations":[]})", R"({"name":"a"})"})
    EXPECT_TRUE(split(json).starts_with("no object with a Name")) << json << split(json);
  for (const char* json : {"", "[", "[[[[[[[[[]]]]]]]]]", "[] []", "nul"})
    EXPECT_TRUE(split(json).starts_with("not valid JSON")) << json << split(json);
}

TEST(Export, is_limited) {
  const auto of_size = [](std::size_t size) {
    const std::string one = R"({"Name":"a"})";
    return split_export(one + std::string(size - one.size(), ' ')).has_value();
  };
  EXPECT_TRUE(of_size(export_bytes_max));
  EXPECT_FALSE(of_size(export_bytes_max + 1));
}

}  // namespace
}  // namespace culvert::server
